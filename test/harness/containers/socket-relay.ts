/** A socket in front of another, which can be held: whoever asks through it gets no answer, and no error. */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class SocketRelay {
  readonly path: string;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #held = false;

  constructor(path: string, target: string) {
    this.path = path;
    this.#server = createServer((near) => {
      const far = connect(target);
      const pair = [near, far] as const;
      this.#pairs.add(pair);
      for (const socket of pair) {
        socket.on('error', () => undefined);
        socket.on('close', () => {
          this.#pairs.delete(pair);
          for (const each of pair) each.destroy();
        });
      }
      if (!this.#held) forward(pair);
    }).listen(path);
  }

  hold(): void {
    this.#held = true;
    for (const [near, far] of this.#pairs) {
      near.unpipe(far).pause();
      far.unpipe(near).pause();
    }
  }

  release(): void {
    this.#held = false;
    for (const pair of this.#pairs) forward(pair);
  }

  close(): void {
    this.#server.close();
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }
}

function forward([near, far]: readonly [Socket, Socket]): void {
  near.pipe(far);
  far.pipe(near);
}
