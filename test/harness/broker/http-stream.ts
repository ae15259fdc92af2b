/** A stream of events over HTTP as it comes: its lines, or its server-sent events. */

export interface Line {
  readonly result?: Item;
  readonly end?: { readonly reason: string; readonly cursor: string };
  readonly error?: Problem;
}

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly field?: string;
  readonly column?: number;
  readonly length?: number;
  readonly suggestion?: string;
}

/** A StreamResult: one of its parts. */
export interface Item {
  readonly event?: { readonly process: { readonly pid: number } };
  readonly cursor?: string;
  readonly coverage?: { readonly cursor: string };
}

export interface ServerSentEvent {
  readonly event?: string;
  readonly id?: string;
  readonly data: unknown;
}

export class HttpStream {
  text = '';
  done = false;
  readonly #abort: AbortController;

  private constructor(
    readonly response: Response,
    abort: AbortController,
  ) {
    this.#abort = abort;
  }

  /** Resolves with the headers; the body is read on. */
  static async open(url: string, init: RequestInit = {}): Promise<HttpStream> {
    const abort = new AbortController();
    const stream = new HttpStream(await fetch(url, { ...init, signal: abort.signal }), abort);
    void stream.#read();
    return stream;
  }

  close(): void {
    this.#abort.abort();
  }

  get isLines(): boolean {
    return this.response.headers.get('content-type')?.includes('ndjson') === true;
  }

  get lines(): Line[] {
    return this.#whole('\n').map((line) => JSON.parse(line) as Line);
  }

  /** Comments and what sets the time of return left out. */
  get events(): ServerSentEvent[] {
    return this.#whole('\n\n').flatMap((block) => {
      const fields = new Map(
        block.split('\n').map((line) => [line.replace(/:.*/s, ''), line.replace(/^[^:]*: ?/, '')]),
      );
      const data = fields.get('data');
      if (data === undefined) return [];
      const [event, id] = [fields.get('event'), fields.get('id')];
      return [{ ...(event && { event }), ...(id && { id }), data: JSON.parse(data) as unknown }];
    });
  }

  /** Of events in either form. */
  get pids(): number[] {
    const items = this.isLines ? this.lines.map(({ result }) => result) : this.events.map(({ data }) => data as Item);
    return items.flatMap((item) => item?.event?.process.pid ?? []);
  }

  #whole(separator: string): string[] {
    return this.text.split(separator).slice(0, -1);
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of this.response.body ?? [])
        this.text += decoder.decode(chunk as Uint8Array, { stream: true });
    } catch {
      // Closed by the test, or cut by the broker.
    }
    this.done = true;
  }
}
