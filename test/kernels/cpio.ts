/**
 * Writes an archive of the kind that the kernel unpacks as its first file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst):
 *
 *   Archive := Entry* | Entry named TRAILER!!!
 *   Entry   := '070701' | (8 hexadecimal digits){13} | name\0 | 0 to 4 bytes | content | 0 to 4 bytes
 */
import fs from 'node:fs';

const FIELDS = 13;
const PAD = 4;

export class CpioWriter {
  readonly #fd: number;
  #inode = 1;
  readonly #names = new Set<string>();

  constructor(path: string) {
    this.#fd = fs.openSync(path, 'w');
  }

  folder(name: string): void {
    this.#entry(name, fs.constants.S_IFDIR | 0o755, Buffer.alloc(0));
  }

  file(name: string, content: Buffer, mode = 0o644): void {
    this.#entry(name, fs.constants.S_IFREG | mode, content);
  }

  link(name: string, target: string): void {
    this.#entry(name, fs.constants.S_IFLNK | 0o777, Buffer.from(target));
  }

  end(): void {
    this.#write('TRAILER!!!', 0, Buffer.alloc(0));
    fs.closeSync(this.#fd);
  }

  /** With the folders that lead to it, each once. */
  #entry(name: string, mode: number, content: Buffer): void {
    const clean = name.replace(/^\/+/, '').replace(/\/+$/, '');
    if (clean === '' || this.#names.has(clean)) return;
    const above = clean.slice(0, Math.max(0, clean.lastIndexOf('/')));
    if (above !== '') this.#entry(above, fs.constants.S_IFDIR | 0o755, Buffer.alloc(0));
    this.#names.add(clean);
    this.#write(clean, mode, content);
  }

  #write(name: string, mode: number, content: Buffer): void {
    const fields = new Array<number>(FIELDS).fill(0);
    const nameBytes = Buffer.byteLength(name) + 1;
    [fields[0], fields[1], fields[4], fields[6], fields[11]] = [this.#inode++, mode, 1, content.length, nameBytes];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
    fs.writeSync(this.#fd, padded(Buffer.from(header)));
    fs.writeSync(this.#fd, padded(content));
  }
}

function padded(bytes: Buffer): Buffer {
  const rest = bytes.length % PAD;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(PAD - rest)]);
}
