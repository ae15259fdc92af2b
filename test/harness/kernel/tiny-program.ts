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
  /** Instructions that put a value into a register: the call's number, then its arguments. */
  readonly registers: readonly string[];
  readonly call: string;
  readonly exit: number;
}

const MACHINES = {
  x64: {
    elf: 62,
    wordBytes: 8,
    base: 0x40_0000,
    registers: ['48b8', '48bf', '48be', '48ba', '49ba', '49b8', '49b9'],
    call: '0f05',
    exit: 60,
  },
  i386: {
    elf: 3,
    wordBytes: 4,
    base: 0x0804_8000,
    registers: ['b8', 'bb', 'b9', 'ba', 'be', 'bf'],
    call: 'cd80',
    exit: 1,
  },
} as const satisfies Record<string, Machine>;

/** The number of a call, then its arguments; a text is given as its address. */
export type Call = readonly [number: number, ...args: (number | bigint | string)[]];

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

function encode({ registers, wordBytes, call }: Machine, values: Call, place: (text: string) => number): Buffer {
  const moves = values.flatMap((value, at) => {
    const word = Buffer.alloc(8);
    word.writeBigUInt64LE(BigInt.asUintN(64, BigInt(typeof value === 'string' ? place(value) : value)));
    return [Buffer.from(registers[at]!, 'hex'), word.subarray(0, wordBytes)];
  });
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
