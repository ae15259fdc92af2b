/** Storage of an audit trail. */
export interface AuditLog {
  /** Where a person finds it, for messages. */
  readonly place: string;
  /**
   * Appends entries as whole lines, in the order of the calls, and drops the oldest ones when full. Resolves when they
   * are durable; rejects with the system's error, and then any of them may be missing.
   */
  append(entries: readonly object[]): Promise<void>;
}
