/**
 * The default event set: what processes and TCP connections do. No measurable
 * cost to the workload; any `syscalls:*` event would tax every system call.
 */
export const LITE_EVENTS: readonly string[] = [
  'sched/sched_process_exec',
  'sched/sched_process_exit',
  'task/task_newtask',
  'task/task_rename',
  'signal/signal_generate',
  'sock/inet_sock_set_state',
];
