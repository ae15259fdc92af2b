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
  /** Next state by state and class. States from #firstEnding on end some literal. */
  #next: Uint16Array;
  #firstEnding = 0;
  /** Literals that end where a state is reached. */
  #ending: (readonly number[] | undefined)[];

  /** Literals of ASCII characters; their index names them in what is found. */
  constructor(literals: readonly string[]) {
    const texts = literals.map((literal) => literal.toLowerCase());
    const characters = [...new Set(texts.join(''))];
    this.#shift = 32 - Math.clz32(characters.length);
    characters.forEach((character, index) => {
      this.#classOf[character.charCodeAt(0)] = index + 1;
      this.#classOf[character.toUpperCase().charCodeAt(0)] = index + 1;
    });
    const states = 1 + texts.reduce((sum, text) => sum + text.length, 0);
    this.#next = new Uint16Array(states << this.#shift);
    this.#ending = new Array(states);
    this.#plant(texts);
    this.#complete();
    this.#sort();
  }

  /** Adds (literal, end) to `found` for each literal, in the order of their ends. */
  scan(text: string, found: number[]): void {
    const classOf = this.#classOf;
    const next = this.#next;
    const shift = this.#shift;
    const firstEnding = this.#firstEnding;
    let state = 0;
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      state = code < ASCII ? next[(state << shift) | classOf[code]!]! : 0;
      if (state < firstEnding) continue;
      for (const literal of this.#ending[state]!) found.push(literal, at + 1);
    }
  }

  #plant(texts: readonly string[]): void {
    let states = 1;
    texts.forEach((text, index) => {
      let state = 0;
      for (let at = 0; at < text.length; at += 1) {
        const edge = (state << this.#shift) | this.#classOf[text.charCodeAt(at)]!;
        if (this.#next[edge] === 0) this.#next[edge] = states++;
        state = this.#next[edge]!;
      }
      this.#ending[state] = [...(this.#ending[state] ?? []), index];
    });
  }

  /** Adds the transitions for characters at which a literal breaks off: the characters read may begin another. */
  #complete(): void {
    const classes = 1 << this.#shift;
    const fallback = new Uint16Array(this.#ending.length);
    const queue: number[] = [];
    for (let edge = 0; edge < classes; edge += 1) if (this.#next[edge] !== 0) queue.push(this.#next[edge]!);
    for (let head = 0; head < queue.length; head += 1) {
      const state = queue[head]!;
      const shorter = fallback[state]!;
      const also = this.#ending[shorter];
      if (also) this.#ending[state] = [...(this.#ending[state] ?? []), ...also];
      for (let edge = 0; edge < classes; edge += 1) {
        const at = (state << this.#shift) | edge;
        const after = this.#next[(shorter << this.#shift) | edge]!;
        if (this.#next[at] === 0) this.#next[at] = after;
        else {
          fallback[this.#next[at]!] = after;
          queue.push(this.#next[at]!);
        }
      }
    }
  }

  /** Puts the states that end a literal last, so that one comparison tells them. */
  #sort(): void {
    const order = [...this.#ending.keys()].sort(
      (a, b) => Number(!!this.#ending[a]) - Number(!!this.#ending[b]) || a - b,
    );
    const placeOf = new Uint16Array(order.length);
    order.forEach((state, place) => {
      placeOf[state] = place;
    });
    const next = new Uint16Array(this.#next.length);
    order.forEach((state, place) => {
      for (let edge = 0; edge < 1 << this.#shift; edge += 1)
        next[(place << this.#shift) | edge] = placeOf[this.#next[(state << this.#shift) | edge]!]!;
    });
    this.#next = next;
    this.#ending = order.map((state) => this.#ending[state]);
    this.#firstEnding = this.#ending.findIndex((literals) => literals !== undefined);
    if (this.#firstEnding < 0) this.#firstEnding = this.#ending.length;
  }
}
