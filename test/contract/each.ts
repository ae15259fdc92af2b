/** One test of a contract: what is under test is made for it, and destroyed after it. */
import { test } from 'node:test';

interface UnderTest {
  destroy(): Promise<void>;
}

/** Adds a test that gets something new to test. */
export type Each<T> = (title: string, run: (under: T) => Promise<void>) => void;

export function eachWith<T extends UnderTest>(name: string, create: () => Promise<T>): Each<T> {
  return (title, run) => {
    test(`${name}: ${title}`, async () => {
      const under = await create();
      try {
        await run(under);
      } finally {
        await under.destroy();
      }
    });
  };
}
