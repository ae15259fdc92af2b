/** Whether a container runtime says who containers are, by asking those that an agent would ask. */
import { runtimePlaces } from '../source/containers/runtime-places.js';
import { Runtimes } from '../source/containers/runtimes.js';
import type { Check } from './doctor-check.js';

export async function containerRuntimes(): Promise<Check> {
  const name = 'container runtime';
  const said: string[] = [];
  const say = (message: string) => said.push(message);
  const runtimes = new Runtimes(runtimePlaces(undefined), { info: say, warn: say });
  if (!runtimes.look()) return { name, state: 'ok', detail: 'none is here: ids of containers stand alone' };
  const { found, whole } = await runtimes.ask(undefined);
  const { present, sockets } = runtimes;
  runtimes.close();
  if (whole && present) return { name, state: 'ok', detail: `${sockets.join(', ')}: ${found.length} have names` };
  const mend = 'see what that socket is, or name others in agent.containers';
  return { name, state: 'limited', detail: said.join('; '), mend };
}
