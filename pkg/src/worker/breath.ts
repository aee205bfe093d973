// Lets waiting messages in, in microseconds; a timer would take milliseconds.

let waiting: (() => void)[] = [];
let channel: MessageChannel | undefined;

/** Resolves after the messages that wait now have been handled. */
export function breathe(): Promise<void> {
  if (channel === undefined) {
    channel = new MessageChannel();
    channel.port1.onmessage = () => {
      const ready = waiting;
      waiting = [];
      for (const resume of ready) resume();
    };
    // Under Node, where the tests run, an open port would keep the process.
    (channel.port1 as { unref?(): void }).unref?.();
  }
  const { port2 } = channel;
  return new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(null);
  });
}
