/** A set of whole numbers from 0 on, a bit for each. */
export class Numbers {
  #bits = new Uint8Array(1024);

  has(number: number): boolean {
    return ((this.#bits[number >> 3] ?? 0) & (1 << (number & 7))) !== 0;
  }

  /** False when it was there already. */
  add(number: number): boolean {
    if (this.has(number)) return false;
    const index = number >> 3;
    if (index >= this.#bits.length) {
      const longer = new Uint8Array(Math.max(index + 1, 2 * this.#bits.length));
      longer.set(this.#bits);
      this.#bits = longer;
    }
    this.#bits[index]! |= 1 << (number & 7);
    return true;
  }

  /** Those that are not there, both ends inclusive. */
  missing(from: number, to: number): number[] {
    const missing: number[] = [];
    for (let number = from; number <= to; number++) if (!this.has(number)) missing.push(number);
    return missing;
  }
}
