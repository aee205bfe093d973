// Keeps the end of a growing answer in view, unless the reader has scrolled away from it.

const near = 80;

export class Follower {
  #button;
  #following = true;
  #top = 0;
  #height = 0;
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
    const height = document.documentElement.scrollHeight;
    // This class only ever scrolls down, so the way up is the reader's, unless the page itself became shorter. One
    // step up is enough: waiting for a distance would mean pulling against it.
    if (scrollY < this.#top && height >= this.#height) this.#following = false;
    else if (this.#atEnd()) this.#following = true;
    this.#top = scrollY;
    this.#height = height;
    this.#button.hidden = this.#following || this.#atEnd();
  }

  #grown() {
    // Another page is shown: that one stays where it is.
    if (document.getElementById("transcript").offsetParent === null) return;
    if (this.#following) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    this.#button.hidden = this.#following || this.#atEnd();
  }
}
