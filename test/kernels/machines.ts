/** What starts a kernel, by Debian's name of its architecture. */
export interface Machine {
  readonly emulator: string;
  /** The package that has it. */
  readonly emulatorPackage: string;
  /** The emulator's arguments. */
  readonly hardware: readonly string[];
  /** On the kernel's command line. */
  readonly words: readonly string[];
  /** Kernels that are tried unless some are named, by the names that the command line takes. */
  readonly kernels: readonly string[];
}

export const MACHINES: Readonly<Record<string, Machine>> = {
  amd64: {
    emulator: 'qemu-system-x86_64',
    emulatorPackage: 'qemu-system-x86',
    hardware: ['-M', 'q35', '-cpu', 'max'],
    // On a crowded machine the emulated timer may not tick while the kernel looks whether it does, which it must.
    words: ['console=ttyS0', 'no_timer_check'],
    kernels: ['5.10', '6.1', '6.12', 'newest'],
  },
  arm64: {
    emulator: 'qemu-system-aarch64',
    emulatorPackage: 'qemu-system-arm',
    // Pointers are signed as the hardware does it only with much arithmetic.
    hardware: ['-M', 'virt', '-cpu', 'max,pauth-impdef=on'],
    words: ['console=ttyAMA0'],
    kernels: ['6.12'],
  },
};
