/** The part of a broker that speaks with nodes, without anything that subscribers use. */
import assert from 'node:assert/strict';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { HeldFrames, type LogTrouble } from '../../../src/broker/ingest/held-frames.js';
import { Ingest } from '../../../src/broker/ingest/ingest.js';
import { UplinkService } from '../../../src/broker/ingest/uplink-service.js';
import type { LogStore } from '../../../src/broker/log/log-store.js';
import { SessionRoute } from '../../../src/broker/nodes/embedded/session-route.js';
import { NodeBudgets } from '../../../src/broker/nodes/node-budgets.js';
import { NodeRegistry } from '../../../src/broker/nodes/node-registry.js';
import { packageVersion } from '../../../src/package-files.js';
import { rawService } from '../../../src/wire/grpc/rpc.js';
import { scratchDirectory } from '../files/scratch-directory.js';
import { newBook, openLogs, openState } from './stores.js';

export interface NodeServer {
  readonly address: string;
  readonly route: SessionRoute;
  readonly registry: NodeRegistry;
  /** Resolves when the log has all frames that came of the node. */
  readonly settled: (node: string) => Promise<void>;
  close(): Promise<void>;
}

interface NodeServerOptions {
  /** Closed with the server. */
  readonly store: LogStore;
  readonly onTrouble: (trouble: LogTrouble) => void;
}

/** With a log of its own, which takes all, unless told otherwise. */
export async function startNodeServer({
  store: other,
  onTrouble,
}: Partial<NodeServerOptions> = {}): Promise<NodeServer> {
  const dir = scratchDirectory();
  const store = other ?? (await openLogs(dir));
  const state = openState(dir);
  const book = newBook();
  const registry = new NodeRegistry(book, store, state, assert.fail);
  const route = new SessionRoute(registry);
  const held = new HeldFrames(onTrouble ?? ((trouble) => assert.equal(trouble.kind, 'over')));
  const ingest = new Ingest(store, held, (record, refusal) => registry.refused(record, refusal));
  const budgets = new NodeBudgets(registry, route, state, undefined);
  const access: ConstructorParameters<typeof UplinkService>[4] = {
    greet: (_call, node) => ({ node, caller: { peer: '', identity: { name: 'local', kind: 'local' } } }),
    isSame: () => true,
    whyOver: () => undefined,
  };
  const uplink = new UplinkService(registry, budgets, ingest, () => {}, access, packageVersion());
  const server = new Server();
  server.addService(rawService('Uplink'), uplink.handlers());
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    route,
    registry,
    settled: (node) => ingest.settled(node),
    async close() {
      uplink.drain();
      held.close();
      registry.close();
      server.forceShutdown();
      await store.close();
    },
  };
}
