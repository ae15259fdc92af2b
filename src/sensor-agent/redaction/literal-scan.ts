/**
 * Finds every place of many literals in one pass over a text, in ASCII's
 * upper and lower case alike (Aho and Corasick's automaton, all transitions
 * written out). What a text costs depends on its length alone.
 */
const ASCII = 128;

export class LiteralScan {
  /** Class of each ASCII character; 0 for all that are in no literal. */
  readonly #classOf = new Uint8Array(ASCII);
  readonly #shift: number;
  /** Next state by state and class. */
  readonly #next: Uint16Array;
  /** 1 for the states that end some literal. */
  readonly #ends: Uint8Array;
  /** Literals that end where a state is reached. */
  readonly #ending: (readonly number[] | undefined)[];

  /** Literals of ASCII characters; their index names them in what is found. */
  constructor(literals: readonly string[]) {
    const texts = literals.map((literal) => literal.toLowerCase());
    const characters = [...new Set(texts.join(''))];
    this.#shift = 32 - Math.clz32(characters.length);
    characters.forEach((character, index) => {
      this.#classOf[character.charCodeAt(0)] = index + 1;
      this.#classOf[character.toUpperCase().charCodeAt(0)] = index + 1;
    });
    // By state: the next states that only go on with a literal.
    const children: Map<number, number>[] = [new Map()];
    this.#ending = [undefined];
    for (const [index, text] of texts.entries()) this.#plant(text, index, children);
    this.#next = new Uint16Array(children.length << this.#shift);
    this.#complete(children);
    this.#ends = Uint8Array.from(this.#ending, (literals) => (literals === undefined ? 0 : 1));
  }

  /** Adds (literal, end) to `found` for each literal, in the order of their ends. */
  scan(text: string, found: number[]): void {
    const classOf = this.#classOf;
    const next = this.#next;
    const shift = this.#shift;
    const ends = this.#ends;
    let state = 0;
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      state = code < ASCII ? next[(state << shift) | classOf[code]!]! : 0;
      if (ends[state] === 0) continue;
      for (const literal of this.#ending[state]!) found.push(literal, at + 1);
    }
  }

  #plant(text: string, index: number, children: Map<number, number>[]): void {
    let state = 0;
    for (let at = 0; at < text.length; at += 1) {
      const edge = this.#classOf[text.charCodeAt(at)]!;
      let child = children[state]!.get(edge);
      if (child === undefined) {
        child = children.push(new Map()) - 1;
        this.#ending.push(undefined);
        children[state]!.set(edge, child);
      }
      state = child;
    }
    this.#ending[state] = [...(this.#ending[state] ?? []), index];
  }

  /** Where a literal breaks off, the transitions are those of the longest end of what was read that begins another. */
  #complete(children: readonly ReadonlyMap<number, number>[]): void {
    const next = this.#next;
    const shift = this.#shift;
    const shorter = new Uint16Array(children.length);
    const queue = [0];
    for (let head = 0; head < queue.length; head += 1) {
      const state = queue[head]!;
      const also = this.#ending[shorter[state]!];
      if (state !== 0 && also) this.#ending[state] = [...(this.#ending[state] ?? []), ...also];
      next.copyWithin(state << shift, shorter[state]! << shift, (shorter[state]! + 1) << shift);
      for (const [edge, child] of children[state]!) {
        const at = (state << shift) | edge;
        // Of the root's own children it is the root.
        shorter[child] = next[at]!;
        next[at] = child;
        queue.push(child);
      }
    }
  }
}
