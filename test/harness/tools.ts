/** Programs of Debian that tests run where they are: as root they are installed, else the test is skipped. */
import { spawnSync } from 'node:child_process';

/**
 * Why a test cannot run here, or false.
 * @param works a shell command that succeeds where the packages are installed
 */
export function needs(works: string, ...packages: readonly string[]): string | false {
  const isThere = () => spawnSync('sh', ['-c', works], { stdio: 'ignore' }).status === 0;
  if (isThere()) return false;
  const names = packages.join(' ');
  if (process.getuid?.() === 0) {
    const get = 'apt-get -o DPkg::Lock::Timeout=300';
    const install = `${get} install -y --no-install-recommends ${names}`;
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    spawnSync('sh', ['-c', `${install} || { ${get} update && ${install}; }`], { env, stdio: 'ignore' });
  }
  return isThere() ? false : `needs ${packages.join(', ')}: apt-get install ${names}`;
}
