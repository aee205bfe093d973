// Keeps the end of a growing answer in view, unless the reader has scrolled away from it.

const near = 80;

export class Follower {
  #button;
  #following = true;
  #observer;

  constructor(button) {
    this.#button = button;
    button.addEventListener("click", () => this.follow());
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#observer = new ResizeObserver(() => this.#grown());
  }

  /** An answer begins to grow. */
  start() {
    this.#observer.observe(document.getElementById("transcript"));
  }

  stop() {
    this.#grown();
    this.#observer.disconnect();
  }

  /** Go to the end and stay there. */
  follow() {
    this.#following = true;
    this.#grown();
  }

  #atEnd() {
    return scrollY + innerHeight >= document.documentElement.scrollHeight - near;
  }

  #scrolled() {
    this.#following = this.#atEnd();
    this.#button.hidden = this.#following;
  }

  #grown() {
    if (this.#following) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    this.#button.hidden = this.#following || this.#atEnd();
  }
}
