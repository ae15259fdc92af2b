/**
 * Programs that make system calls and nothing else, as the bytes of a static executable (man 5 elf): what no program at
 * hand does, and 32-bit ones where no compiler is.
 *
 *   Program := ELF header | one program header | for each call: registers' values, the call | texts
 */

interface Machine {
  readonly elf: number;
  readonly wordBytes: 4 | 8;
  readonly base: number;
  /** Instructions that put a value into a register: 0 is that of the call's number, then those of its arguments. */
  readonly move: (register: number, value: bigint) => Buffer;
  readonly call: string;
  readonly exit: number;
}

const X64_REGISTERS = ['48b8', '48bf', '48be', '48ba', '49ba', '49b8', '49b9'];
const I386_REGISTERS = ['b8', 'bb', 'b9', 'ba', 'be', 'bf'];

const MACHINES = {
  x64: {
    elf: 62,
    wordBytes: 8,
    base: 0x40_0000,
    move: (register, value) => Buffer.concat([Buffer.from(X64_REGISTERS[register]!, 'hex'), word(value, 8)]),
    call: '0f05',
    exit: 60,
  },
  i386: {
    elf: 3,
    wordBytes: 4,
    base: 0x0804_8000,
    move: (register, value) => Buffer.concat([Buffer.from(I386_REGISTERS[register]!, 'hex'), word(value, 4)]),
    call: 'cd80',
    exit: 1,
  },
  arm64: {
    elf: 183,
    wordBytes: 8,
    base: 0x40_0000,
    move: movesArm64,
    call: '010000d4',
    exit: 93,
  },
} as const satisfies Record<string, Machine>;

function word(value: bigint, bytes: 4 | 8): Buffer {
  const all = Buffer.alloc(8);
  all.writeBigUInt64LE(BigInt.asUintN(64, value));
  return all.subarray(0, bytes);
}

const [MOVZ, MOVK] = [0xd280_0000, 0xf280_0000];

/** Sixteen bits by each of four instructions; the call's number is in x8, its arguments from x0 on. */
function movesArm64(register: number, value: bigint): Buffer {
  const code = Buffer.alloc(16);
  for (let part = 0; part < 4; part += 1) {
    const bits = Number(BigInt.asUintN(16, value >> BigInt(16 * part)));
    const instruction = (part === 0 ? MOVZ : MOVK) + part * 0x20_0000 + bits * 32 + (register === 0 ? 8 : register - 1);
    code.writeUInt32LE(instruction, 4 * part);
  }
  return code;
}

/** The number of a call, then its arguments; a text is given as its address. */
export type Call = readonly [number: number, ...args: (number | bigint | string)[]];

/** What programs of this machine are for; undefined where none can be made. */
export const OWN_MACHINE = (['x64', 'arm64'] as const).find((name) => name === process.arch);

/** Makes the calls one after the other, whatever they return, and exits with 0. */
export function tinyProgram(name: keyof typeof MACHINES, calls: readonly Call[]): Buffer {
  const machine: Machine = MACHINES[name];
  const all: readonly Call[] = [...calls, [machine.exit, 0]];
  const headerBytes = machine.wordBytes === 8 ? 64 + 56 : 52 + 32;
  const codeBytes = all.reduce((sum, call) => sum + encode(machine, call, () => 0).length, 0);
  let texts = Buffer.alloc(0);
  const place = (text: string) => {
    const at = machine.base + headerBytes + codeBytes + texts.length;
    texts = Buffer.concat([texts, Buffer.from(`${text}\0`)]);
    return at;
  };
  const code = Buffer.concat(all.map((call) => encode(machine, call, place)));
  return Buffer.concat([header(machine, headerBytes, headerBytes + code.length + texts.length), code, texts]);
}

function encode({ move, call }: Machine, values: Call, place: (text: string) => number): Buffer {
  const moves = values.map((value, at) => move(at, BigInt(typeof value === 'string' ? place(value) : value)));
  return Buffer.concat([...moves, Buffer.from(call, 'hex')]);
}

const READ_WRITE_EXECUTE = 7;

function header({ elf, wordBytes, base }: Machine, headerBytes: number, fileBytes: number): Buffer {
  const wide = wordBytes === 8;
  const bytes = Buffer.alloc(headerBytes);
  let at = 0;
  const put = (value: number, length: number) => {
    bytes.writeUIntLE(value, at, Math.min(length, 6));
    at += length;
  };
  const words = (...values: number[]) => {
    for (const value of values) put(value, wordBytes);
  };
  for (const byte of [0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]) put(byte, 1);
  at = 16;
  for (const [value, length] of [
    [2, 2],
    [elf, 2],
    [1, 4],
  ] as const)
    put(value, length);
  words(base + headerBytes, wide ? 64 : 52, 0);
  put(0, 4);
  for (const value of [wide ? 64 : 52, wide ? 56 : 32, 1, 0, 0, 0]) put(value, 2);
  put(1, 4);
  if (wide) put(READ_WRITE_EXECUTE, 4);
  words(0, base, base, fileBytes, fileBytes);
  if (!wide) put(READ_WRITE_EXECUTE, 4);
  words(0x1000);
  return bytes;
}
