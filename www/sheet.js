// The readouts stand beside the conversation where there is room, and in a dialog where there is not.

import { byId } from "./dom.js";

const roomy = matchMedia("(min-width: 64rem)");

export function placeSheet() {
  const home = byId("sheet-home");
  const sheet = byId("sheet");
  const place = () => {
    if (roomy.matches) byId("details").close();
    (roomy.matches ? home : byId("details-home")).append(sheet);
  };
  roomy.addEventListener("change", place);
  place();

  // A region that scrolls has to be reachable by keyboard; one that does not should not stop the Tab key.
  const reach = () => {
    if (home.scrollHeight > home.clientHeight) home.tabIndex = 0;
    else home.removeAttribute("tabindex");
  };
  const watcher = new ResizeObserver(reach);
  watcher.observe(home);
  watcher.observe(sheet);
}
