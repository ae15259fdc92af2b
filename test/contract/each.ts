/** One test of a contract: what is under test is made for it, and destroyed after it. */
import { test } from 'node:test';

interface UnderTest {
  destroy(): Promise<void>;
}

export function eachWith<T extends UnderTest>(name: string, create: () => Promise<T>) {
  return (title: string, run: (under: T) => Promise<void>): void => {
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
