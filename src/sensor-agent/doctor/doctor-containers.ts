/** Whether a container runtime says who containers are, by asking those that an agent would ask. */
import type { KubeletFiles } from '../source/containers/kubelet-runtime.js';
import { runtimePlaces } from '../source/containers/runtime-places.js';
import { Runtimes } from '../source/containers/runtimes.js';
import type { Check } from './doctor-check.js';

/** `given`: the setting agent.containers; `kubelet`: the files of a kubelet in it. */
export async function containerRuntimes(given: readonly string[], kubelet: KubeletFiles): Promise<Check> {
  const name = 'container runtime';
  const said: string[] = [];
  const say = (message: string) => said.push(message);
  const places = runtimePlaces(given, kubelet);
  if (places.length === 0) return { name, state: 'ok', detail: 'none is asked: ids of containers stand alone' };
  const runtimes = new Runtimes(places, { info: say, warn: say });
  const isThere = runtimes.look();
  if (!isThere && !given.includes('auto')) {
    const detail = `${places.map(({ socket }) => socket).join(', ')}: not there, or may not be used`;
    return { name, state: 'limited', detail, mend: 'start the runtime, or name its socket in agent.containers' };
  }
  if (!isThere) return { name, state: 'ok', detail: 'none is here: ids of containers stand alone' };
  const { found, whole } = await runtimes.ask(undefined);
  const { present, sockets } = runtimes;
  runtimes.close();
  if (whole && present) return { name, state: 'ok', detail: `${sockets.join(', ')}: ${found.length} have names` };
  const mend = 'see what that socket is, or name others in agent.containers';
  return { name, state: 'limited', detail: said.join('; '), mend };
}
