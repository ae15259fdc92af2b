/** The programs that a text has named so far, and what that means for what follows. */

/** Traits of the arguments of some programs. */
export interface ProgramTraits {
  /** Names of programs, with spaces between. */
  readonly programs: string;
  /** `name: some words` is prose, as in a commit's message. */
  readonly prose?: boolean;
  /** `name:x` is a tag, a target, a place: not a secret. */
  readonly tags?: boolean;
  /** `name x` is a setting and its value. */
  readonly settings?: boolean;
  /** Flags that name a secret rather than give it, with spaces between. */
  readonly harmless?: string;
}

export class ProgramsSeen {
  readonly #traits: ProgramTraits[] = [];

  see(traits: ProgramTraits): void {
    if (!this.#traits.includes(traits)) this.#traits.push(traits);
  }

  some(trait: 'prose' | 'tags' | 'settings'): boolean {
    return this.#traits.some((traits) => traits[trait] === true);
  }

  /** Whether the flag is one that names a secret to one of the programs. */
  harmless(flag: string): boolean {
    return this.#traits.some(({ harmless }) => harmless !== undefined && ` ${harmless} `.includes(` ${flag} `));
  }
}
