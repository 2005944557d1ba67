// Still is the picture of one tile. A new one is decoded before it takes the
// place of the old one, so that the tile never blinks; while one loads, only
// the newest of those that come after it is remembered.
export class Still {
  #host;
  #img = null;
  #wanted = "";
  #shown = "";
  #busy = false;

  // host is the element that the picture is put into, as its first child;
  // failed is told whether the newest one could not be loaded.
  constructor(host, failed) {
    this.#host = host;
    this.failed = failed;
  }

  async show(url, alt) {
    this.#wanted = url;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#wanted && this.#wanted !== this.#shown) {
      const loading = this.#wanted;
      this.#shown = loading;
      const img = new Image();
      img.alt = alt;
      img.draggable = false;
      img.dataset.testid = "still";
      img.src = loading;
      const ok = await img.decode().then(() => true, () => false);
      if (!this.#wanted) break; // cleared meanwhile
      this.failed(!ok);
      if (ok) this.#put(img);
    }
    this.#busy = false;
  }

  #put(img) {
    if (this.#img) this.#img.replaceWith(img);
    else this.#host.prepend(img);
    this.#img = img;
  }

  clear() {
    this.#wanted = this.#shown = "";
    this.#img?.remove();
    this.#img = null;
  }
}
