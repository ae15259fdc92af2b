/**
 * A disk of its own that loses what was not synced, as in a power cut: ext4 in a file, whose journal is not written when
 * it is cut. Mounted by a test that is root, and removed behind it.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { scratchDirectory } from './scratch-directory.js';

/** EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: from then on nothing reaches the disk. */
const CUT = 'my $how = pack("I", 2); sysopen(DISK, $ARGV[0], 0) && ioctl(DISK, 0x8004587d, $how) or die $!';

export class CutDisk {
  readonly dir: string;
  readonly #image: string;
  readonly #removeAtExit = () => this.remove();

  constructor(bytes: number) {
    const own = scratchDirectory('cut-disk');
    this.dir = join(own, 'mounted');
    this.#image = join(own, 'image');
    mkdirSync(this.dir);
    execFileSync('truncate', ['-s', String(bytes), this.#image]);
    execFileSync('mkfs.ext4', ['-q', this.#image]);
    process.on('exit', this.#removeAtExit);
    this.#mount();
  }

  /** Everything that was written so far survives a cut. */
  sync(): void {
    execFileSync('sync', ['-f', this.dir]);
  }

  /** Who writes gets errors from here on. */
  cut(): void {
    execFileSync('perl', ['-e', CUT, this.dir]);
  }

  /**
   * With what had been synced. Nobody may have files of it open. What is mounted is a copy of it: the disk that was cut stays
   * so as long as it is mounted anywhere, as in the mount namespace of another test that began meanwhile.
   */
  restore(): void {
    execFileSync('umount', [this.dir]);
    const copy = `${this.#image}.copy`;
    execFileSync('cp', ['--sparse=always', this.#image, copy]);
    renameSync(copy, this.#image);
    this.#mount();
  }

  remove(): void {
    process.off('exit', this.#removeAtExit);
    execFileSync('umount', ['-l', this.dir]);
  }

  #mount(): void {
    execFileSync('mount', ['-o', 'loop', this.#image, this.dir]);
  }
}

/** Why there can be none here, or false. */
export function cannotCut(): string | false {
  if (process.getuid?.() !== 0 || process.platform !== 'linux') return 'needs root on Linux to mount a disk';
  try {
    const disk = new CutDisk(16 * 2 ** 20);
    disk.cut();
    disk.restore();
    disk.remove();
    return false;
  } catch (cause) {
    return `needs ext4 on a loop device: ${(cause as Error).message.split('\n')[0]}`;
  }
}
