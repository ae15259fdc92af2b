/** What the numbers of a call say to people: what it is to do, and to whom. */
import { OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { commandName } from '../../../text/command-names.js';
import type { SyscallContext } from '../../../wire/event/event.js';

/** By name: the argument that says what the call is to do. */
const COMMANDS: Readonly<Record<string, number>> = { bpf: 0, ptrace: 0, fsconfig: 1 };
/** By name: the argument that is another process or thread. Of tgkill it is the process. */
const TARGETS: Readonly<Record<string, number>> = {
  ptrace: 1,
  kill: 0,
  tkill: 0,
  tgkill: 0,
  process_vm_readv: 0,
  process_vm_writev: 0,
};
/** Names nobody: its caller is to be traced. */
const TRACEME = 'PTRACE_TRACEME';

/** `args`: registers, signed; a pid is 32 bits of one. */
export function callNumbers(call: string, args: readonly bigint[]): Pick<SyscallContext, 'command' | 'targetPid'> {
  const register = (of: Readonly<Record<string, number>>) => (Object.hasOwn(of, call) ? args[of[call]!] : undefined);
  const [commanded, target] = [register(COMMANDS), register(TARGETS)];
  const command = commanded === undefined ? '' : commandName(call, commanded, OWN_ARCHITECTURE);
  return {
    ...(command === '' ? {} : { command }),
    ...(target === undefined || command === TRACEME ? {} : { targetPid: Number(BigInt.asIntN(32, target)) }),
  };
}
