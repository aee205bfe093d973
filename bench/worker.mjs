// A page's worker that is asked once.

/** What the script of `page/` answers; it posts `{ answer }` or `{ error }`. */
export async function ask(page, script, argument) {
  return page.evaluate(
    ({ script, argument }) =>
      new Promise((resolve, reject) => {
        const worker = new Worker(`/bench/${script}`, { type: "module" });
        worker.onmessage = ({ data: { answer, error } }) => (error === undefined ? resolve(answer) : reject(new Error(error)));
        worker.onerror = ({ message }) => reject(new Error(message));
        worker.postMessage(argument);
      }),
    { script, argument },
  );
}
