// The readouts stand beside the conversation where there is room, and in a dialog where there is not.

import { byId } from "./dom.js";

const roomy = matchMedia("(min-width: 64rem)");

export function placeSheet() {
  const place = () => {
    if (roomy.matches) byId("details").close();
    byId(roomy.matches ? "sheet-home" : "details-home").append(byId("sheet"));
  };
  roomy.addEventListener("change", place);
  place();
}
