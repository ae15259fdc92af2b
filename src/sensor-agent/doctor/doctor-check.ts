/** One finding of the doctor. */
export interface Check {
  readonly name: string;
  /** `limited`: works in part, or not as well as it could. */
  readonly state: 'ok' | 'missing' | 'limited';
  readonly detail: string;
  /** What to do about it. */
  readonly mend?: string;
}
