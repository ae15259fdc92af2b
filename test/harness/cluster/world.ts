/** What a party takes for its machine's wall clock and boot: see preload.ts. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PRELOAD = fileURLToPath(new URL('./preload.js', import.meta.url));

export class World {
  readonly #file: string;
  #clockMs: number;
  #boots = 0;

  /** @param clockMs how far the clock goes ahead of the real one */
  constructor(file: string, clockMs = 0) {
    this.#file = file;
    this.#clockMs = clockMs;
    // The boot id is set from the start: if it appeared only with a step of the clock, it would look like a reboot.
    this.#write();
  }

  /** Of Node's options. */
  get nodeOption(): string {
    return `--import=${PRELOAD}`;
  }

  get env(): NodeJS.ProcessEnv {
    return { FAULT_WORLD: this.#file };
  }

  /** The wall clock goes forward by so much, or back. */
  step(ms: number): void {
    this.#clockMs += ms;
    this.#write();
  }

  /** Call while nobody runs there. */
  reboot(): void {
    this.#boots += 1;
    this.#write();
  }

  #write(): void {
    writeFileSync(this.#file, JSON.stringify({ clockMs: this.#clockMs, bootId: `boot-${this.#boots}` }));
  }
}
