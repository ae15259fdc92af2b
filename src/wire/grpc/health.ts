/** The standard health service (grpc.health.v1), which probes ask. */
import type { Server } from '@grpc/grpc-js';
import type { HealthImplementation } from 'grpc-health-check';
import { addLazyService } from './lazy-service.js';

type Status = 'SERVING' | 'NOT_SERVING';

const ONE_ANSWER = { requestStream: false, responseStream: false };
const METHODS = { Check: ONE_ANSWER, List: ONE_ANSWER, Watch: { requestStream: false, responseStream: true } };

export class Health {
  #status: Status = 'NOT_SERVING';
  #library: HealthImplementation | undefined;

  constructor(server: Server) {
    addLazyService(server, 'grpc.health.v1.Health', METHODS, (adding) => this.#load(adding));
  }

  /** Of the server as a whole; NOT_SERVING at first. */
  show(status: Status): void {
    this.#status = status;
    this.#library?.setStatus('', status);
  }

  async #load(server: Server): Promise<void> {
    const { HealthImplementation } = await import('grpc-health-check');
    this.#library = new HealthImplementation({ '': this.#status });
    this.#library.addToServer(server);
  }
}
