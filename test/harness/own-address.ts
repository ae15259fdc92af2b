/**
 * Addresses that nobody else uses. A free port of 127.0.0.1 is not one: between its choice and its use, or while the
 * process that has it is being started again, anybody's connection may be given it.
 */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** 127.A.B.C:PORT, of the sixteen million addresses of loopback, and below the ports that the system gives away. */
export async function ownAddress(): Promise<string> {
  const host = `127.${randomInt(1, 255)}.${randomInt(256)}.${randomInt(1, 255)}`;
  const port = randomInt(10_000, 32_000);
  // A process that listens on all addresses occupies this one, too.
  const server = createServer().listen(port, host);
  const taken = await Promise.race([
    once(server, 'listening').then(() => false),
    once(server, 'error').then(() => true),
  ]);
  if (taken) return ownAddress();
  server.close();
  await once(server, 'close');
  return `${host}:${port}`;
}
