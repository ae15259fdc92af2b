/** A container runtime that answers by the Container Runtime Interface as a test has it: real ones neither lie nor hang. */
import { join } from 'node:path';
import { after } from 'node:test';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { runtimePlaces } from '../../../src/sensor-agent/source/containers/runtime-places.js';
import { scratchDirectory } from '../files/scratch-directory.js';

export const ID = 'ab'.repeat(32);
export const POD = 'cd'.repeat(32);
export const IMAGE_ID = `sha256:${'ef'.repeat(32)}`;

/** A field of a message: its text, or its own fields. */
type Fields = Readonly<Record<number, string | Buffer | number>>;
export function message(fields: Fields): Buffer {
  return Buffer.concat(
    Object.entries(fields).map(([field, value]) => {
      if (typeof value === 'number') return Buffer.concat([varint(Number(field) * 8), varint(value)]);
      const bytes = Buffer.from(value);
      return Buffer.concat([varint(Number(field) * 8 + 2), varint(bytes.length), bytes]);
    }),
  );
}
function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Buffer.from([...bytes, value]);
}

const CONTAINER = message({ 1: ID, 2: POD, 3: message({ 1: 'web' }), 4: message({ 1: IMAGE_ID }), 6: 1, 7: 2 ** 60 });
export const ANSWERS: Readonly<Record<string, Buffer>> = {
  ListContainers: message({ 1: CONTAINER }),
  ListPodSandbox: message({ 1: message({ 1: POD, 2: message({ 1: 'web-1', 2: 'uid', 3: 'shop' }) }) }),
  ContainerStatus: message({ 1: message({ 8: message({ 1: 'docker.io/library/nginx:1.27' }) }) }),
};

export type Call = ServerUnaryCall<Buffer, Buffer>;
export type Answer = (method: string, done: sendUnaryData<Buffer>, call: Call) => void;
const servers: Server[] = [];
let made = 0;
after(() => {
  for (const server of servers) server.forceShutdown();
});

/** A server of the interface on a socket of its own. */
export async function served(answer: Answer, version = 'v1'): Promise<string> {
  const server = new Server();
  servers.push(server);
  const same = (bytes: Buffer) => bytes;
  const methods = Object.keys(ANSWERS).map((name) => [
    name,
    {
      ...{ path: `/runtime.${version}.RuntimeService/${name}`, requestStream: false, responseStream: false },
      ...{ requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same },
    },
  ]);
  const handlers = Object.keys(ANSWERS).map((name) => [
    name,
    (call: Call, done: sendUnaryData<Buffer>) => answer(name, done, call),
  ]);
  server.addService(Object.fromEntries(methods), Object.fromEntries(handlers));
  made += 1;
  const path = join(scratchDirectory('cri'), `${made}.sock`);
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (cause) =>
      cause ? reject(cause) : resolve(),
    ),
  );
  return path;
}

export const right = (method: string, done: sendUnaryData<Buffer>) => done(null, ANSWERS[method]);

/** What a kubelet would need is not there. */
export const placesOf = (given: readonly string[]) => runtimePlaces(given, { token: '/nowhere', ca: '/nowhere' });
