/** Where a trail is kept. */
export interface AuditLog {
  /** For messages: where somebody finds it. */
  readonly place: string;
  /**
   * Keeps entries as whole lines, in the order of the calls, and lets go of the oldest. Resolves when they are durable;
   * rejects with what the system refused with, and then none of them need be there.
   */
  append(entries: readonly object[]): Promise<void>;
}
