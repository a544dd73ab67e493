// Does a few things at a time, in order.

export class Queue {
  #most;
  #running = 0;
  #waiting = [];

  /** @param {number} most things at a time */
  constructor(most) {
    this.#most = most;
  }

  /** Do something when its turn comes. */
  do(action) {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => action().then(resolve, reject));
      this.#next();
    });
  }

  #next() {
    while (this.#running < this.#most && this.#waiting.length) {
      this.#running++;
      const start = this.#waiting.shift();
      start().finally(() => {
        this.#running--;
        this.#next();
      });
    }
  }
}
