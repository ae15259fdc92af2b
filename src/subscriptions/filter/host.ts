/** What a filter knows of the node where it is evaluated, and no event says. */
export interface Host {
  readonly name: string;
  /** `key=value` */
  readonly labels: readonly string[];
}

/** Where nothing of it is known and nothing depends on it. */
export const NO_HOST: Host = { name: '', labels: [] };
