/**
 * A filesystem of which nobody answers any more, as a user's own whose program hangs: FUSE, spoken by hand
 * (include/uapi/linux/fuse.h). It has one file, and answers for it until it is told to be silent. What the main thread of
 * the process that mounted it asks then would wait for ever: so that a test fails instead, the first question ends the
 * filesystem, and is told.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, read, readFileSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(import.meta.url);

interface Served {
  readonly directory: string;
  readonly name: string;
  /** The file whose bytes it has. */
  readonly like: string;
}

export class SilentFilesystem {
  readonly #server: ChildProcess;
  /** What was asked since it is silent. */
  asked: string | undefined;

  /** Mounts it, answering. Undefined where this machine does not let us. */
  static async mount(served: Served): Promise<SilentFilesystem | undefined> {
    const server = fork(SERVER, [JSON.stringify(served)], { execArgv: [] });
    const filesystem = new SilentFilesystem(server);
    const [said] = await Promise.race([once(server, 'message'), once(server, 'exit')]);
    return said === 'mounted' ? filesystem : undefined;
  }

  private constructor(server: ChildProcess) {
    this.#server = server;
    server.on('message', (message) => {
      if (typeof message === 'object') this.asked = (message as { asked: string }).asked;
    });
  }

  async silence(): Promise<void> {
    const silent = once(this.#server, 'message');
    this.#server.send('be silent');
    await silent;
  }

  /** Returns what was asked since it is silent, if anything was. */
  async end(): Promise<string | undefined> {
    if (this.#server.exitCode === null && this.#server.signalCode === null) {
      const ended = once(this.#server, 'exit');
      this.#server.kill('SIGKILL');
      await ended;
    }
    return this.asked;
  }
}

const HEADER_BYTES = 40;
const REQUEST_BYTES_MAX = 1024 * 1024 + 4096;
const _ROOT = 1n;
const FILE = 2n;
const [ENOENT, ENOSYS] = [-2, -38];
const LOOKUP = 1;
const FORGET = 2;
const GETATTR = 3;
const OPEN = 14;
const READ = 15;
const STATFS = 17;
const RELEASE = 18;
const FLUSH = 25;
const INIT = 26;
const OPENDIR = 27;
const RELEASEDIR = 29;
const ACCESS = 34;
const INTERRUPT = 36;
const DESTROY = 38;
const BATCH_FORGET = 42;
/** Nobody waits for an answer to these. */
const UNANSWERED = [FORGET, BATCH_FORGET, INTERRUPT, RELEASE, RELEASEDIR, DESTROY];

class Server {
  readonly #bytes: Buffer;
  readonly #name: string;
  readonly #device = openSync('/dev/fuse', 'r+');
  readonly #request = Buffer.alloc(REQUEST_BYTES_MAX);
  isSilent = false;

  constructor({ name, like }: Served) {
    this.#bytes = readFileSync(like);
    this.#name = name;
  }

  async mount(directory: string): Promise<void> {
    const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other';
    const stdio = ['ignore', 'ignore', 'inherit', this.#device] as const;
    const mounting = spawn('mount', ['-i', '-t', 'fuse', '-o', options, 'silent', directory], { stdio: [...stdio] });
    this.#next();
    const [status] = await once(mounting, 'exit');
    if (status !== 0) end();
  }

  #next(): void {
    read(this.#device, this.#request, 0, REQUEST_BYTES_MAX, null, (failed, length) => {
      // A question that was taken back, or none yet.
      if (failed && !['ENOENT', 'EINTR', 'EAGAIN', 'EPERM'].includes(failed.code!)) end();
      if (!failed) this.#take(this.#request.subarray(0, length));
      if (failed) setTimeout(() => this.#next(), 1);
      else this.#next();
    });
  }

  #take(asked: Buffer): void {
    const opcode = asked.readUInt32LE(4);
    if (UNANSWERED.includes(opcode)) return;
    // Other agents on this machine look at its program, too.
    if (this.isSilent && asked.readUInt32LE(32) === process.ppid) {
      // What waits gets an error once nobody has the device.
      process.send!({ asked: `opcode ${opcode}` }, end);
      return;
    }
    const answer = this.#answer(opcode, asked.readBigUInt64LE(16), asked.subarray(HEADER_BYTES));
    const [error, body] = typeof answer === 'number' ? [answer, Buffer.alloc(0)] : [0, answer];
    const head = Buffer.alloc(16);
    head.writeUInt32LE(16 + body.length, 0);
    head.writeInt32LE(error, 4);
    asked.copy(head, 8, 8, 16);
    try {
      writeSync(this.#device, Buffer.concat([head, body]));
    } catch {
      // It was taken back.
    }
  }

  /** A body, or an error. */
  #answer(opcode: number, node: bigint, body: Buffer): Buffer | number {
    switch (opcode) {
      case INIT: {
        const init = Buffer.alloc(64);
        init.writeUInt32LE(7, 0);
        init.writeUInt32LE(31, 4);
        init.writeUInt32LE(body.readUInt32LE(8), 8);
        init.writeUInt32LE(1024 * 1024, 20);
        return init;
      }
      case LOOKUP: {
        if (body.toString('utf8', 0, body.indexOf(0)) !== this.#name) return ENOENT;
        const entry = Buffer.alloc(40);
        entry.writeBigUInt64LE(FILE, 0);
        return Buffer.concat([entry, this.#attributes(FILE)]);
      }
      case GETATTR:
        return Buffer.concat([Buffer.alloc(16), this.#attributes(node)]);
      case OPEN:
      case OPENDIR:
        return Buffer.alloc(16);
      case READ: {
        const [offset, size] = [Number(body.readBigUInt64LE(8)), body.readUInt32LE(16)];
        return this.#bytes.subarray(offset, offset + size);
      }
      case STATFS: {
        const made = Buffer.alloc(80);
        // Of the blocks, and of the longest name.
        made.writeUInt32LE(4096, 40);
        made.writeUInt32LE(255, 44);
        return made;
      }
      case FLUSH:
      case ACCESS:
        return 0;
      default:
        return ENOSYS;
    }
  }

  /** Never to be remembered by the kernel: it asks again each time. */
  #attributes(node: bigint): Buffer {
    const made = Buffer.alloc(88);
    made.writeBigUInt64LE(node, 0);
    made.writeBigUInt64LE(node === FILE ? BigInt(this.#bytes.length) : 0n, 8);
    made.writeUInt32LE(node === FILE ? 0o100755 : 0o40755, 60);
    made.writeUInt32LE(1, 64);
    return made;
  }
}

/** Not by exit(), which waits for the thread that reads. */
function end(): void {
  process.kill(process.pid, 'SIGKILL');
}

if (process.argv[1] === SERVER) {
  const served = JSON.parse(process.argv[2]!) as Served;
  const server = new Server(served);
  process.on('disconnect', end);
  process.on('message', () => {
    server.isSilent = true;
    process.send!('silent');
  });
  await server.mount(served.directory);
  process.send!('mounted');
}
