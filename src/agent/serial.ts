/** One change at a time: kernel and store are changed by one caller after the other, in the order they asked. */
export type Serial = <T>(action: () => Promise<T> | T) => Promise<T>;

export function createSerial(): Serial {
  let last: Promise<unknown> = Promise.resolve();
  return (action) => {
    const mine = last.then(action);
    last = mine.catch(() => undefined);
    return mine;
  };
}
