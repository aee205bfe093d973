// An error as a card: what happened, what to do, and the library's own words folded away.

import { element } from "./dom.js";
import { explain } from "./errors.js";

/** The children of a notice about `error`; `actions` are buttons that offer a way on. */
export function noticeFor(error, ...actions) {
  const { title, advice, code, detail } = explain(error);
  return [
    element("p", { class: "notice-title" }, title),
    element("p", {}, advice),
    ...(actions.length ? [element("div", { class: "notice-actions" }, ...actions)] : []),
    element(
      "details",
      {},
      element("summary", {}, "Details"),
      element("p", { class: "notice-detail" }, element("code", {}, code), ` ${detail}`),
    ),
  ];
}
