/** Arguments as hardly anybody gives them: as the program got them, or cut and said so, and never another process's. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { EXEC_WAYS } from '../../../../src/sensor-agent/source/exec/exec-ways.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { by, opened } from '../../../harness/kernel/exec-ways.js';
import { until } from '../../../harness/until.js';

const PRINTED_BYTES_MAX = 1 << 24;

/** Runs programs and prints, for each, its pid, what it was given, base64, and whether that was a list at all. */
const ODD = `
import base64, ctypes, json, mmap, os, sys
libc = ctypes.CDLL(None)

def addresses(args, cold):
    text = b''.join(each + b'\\0' for each in args)
    if cold:
        # Pages of a file that this process has not touched.
        fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.write(fd, text)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        kept = mmap.mmap(fd, len(text), mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(fd)
        start = ctypes.addressof(ctypes.c_char.from_buffer(kept))
    else:
        kept = ctypes.create_string_buffer(text, len(text))
        start = ctypes.addressof(kept)
    found = []
    for each in args:
        found.append(start)
        start += len(each) + 1
    return kept, (ctypes.c_void_p * (len(args) + 1))(*found, None)

def run(args, cold=False):
    kept, pointers = addresses(args or [], cold)
    pid = os.fork()
    if pid == 0:
        libc.execve(b'/bin/true', None if args is None else pointers, (ctypes.c_void_p * 1)(None))
        os._exit(9)
    assert os.waitpid(pid, 0)[1] == 0
    print(json.dumps([pid, args is not None, [base64.b64encode(each).decode() for each in args or []]]))

for turn in range(5):
    run([b'true', os.urandom(8).hex().encode(), b'word'], cold=True)
    run([b'true'] + [b'%04d' % at * 20 for at in range(300)], cold=True)
    run([b'true', b'x' * 131071])
    run([b'true'] + [b'%05d' % at + b'y' * 1300 for at in range(100)])
    run([b'true'] + [b'' for at in range(1000)])
    run([b'true'] + [b'%d' % at for at in range(1000)])
    run([b'true', b'', b'', b'between', b''])
    run([b'', b''])
    run([b'true', b'\\xff\\xfe', b'\\x80' * 30, bytes(range(1, 256))])
    run(None)
    run([])
`;

by(
  EXEC_WAYS,
  'arguments from a cold page, very long, many, empty, not UTF-8 and none come as they are',
  async (way) => {
    const { seen } = await opened(way);
    const printed = execFileSync('python3', ['-c', ODD, join(scratchDirectory('cold'), 'page')], {
      encoding: 'utf8',
      maxBuffer: PRINTED_BYTES_MAX,
    });
    const given = printed
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as [number, boolean, string[]]);
    assert.equal(given.length, 55);
    const recordsOf = (wanted: number) =>
      seen.execs.filter(({ pid, process: found }) => pid === wanted && found?.executablePath?.endsWith('/true'));
    await until('all of them', () => given.every(([pid]) => recordsOf(pid).length > 0));
    for (const [pid, , encoded] of given) {
      const records = recordsOf(pid);
      assert.equal(records.length, 1);
      const [{ missed, process: found }] = records as [(typeof records)[0]];
      const args = encoded.map((text) => Buffer.from(text, 'base64').toString('utf8'));
      const told = found!.args!;
      assert.equal(missed, false, `${args.length} arguments`);
      // Since 5.18 the kernel gives a program one, empty, where it is given none.
      if (args.length === 0)
        assert.ok(told.length === 0 || (told.length === 1 && told[0] === ''), JSON.stringify(told));
      else if (!found!.argsTruncated) assert.deepEqual(told, args);
      else {
        assert.ok(args.join('\0').length > 1_500);
        assert.deepEqual(told.slice(0, -1), args.slice(0, told.length - 1));
        assert.ok(args[told.length - 1]!.startsWith(told.at(-1)!));
      }
    }
  },
);
