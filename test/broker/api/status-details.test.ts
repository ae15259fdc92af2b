/** Errors over gRPC as a stranger decodes them: google.rpc.Status with ErrorInfo and BadRequest; and as our client does. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { ServiceError } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { Client } from '../../../src/client/client.js';
import { BackplaneError, type ErrorCode } from '../../../src/errors.js';
import { createBackplaneClient } from '../../../src/wire/grpc/rpc.js';
import { callFailure, DETAILS_KEY } from '../../../src/wire/grpc/status-details.js';
import { Harness } from '../../harness/broker/harness.js';

const GOOGLE = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message BadRequest {
    message FieldViolation { string field = 1; string description = 2; }
    repeated FieldViolation field_violations = 1;
  }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
`).root;

interface Status {
  readonly code: number;
  readonly message: string;
  /** By the name of the message. */
  readonly details: Readonly<Record<string, object>>;
}

function statusOf({ metadata }: Pick<ServiceError, 'metadata'>): Status {
  const read = (name: string, bytes: Uint8Array) => {
    const type = GOOGLE.lookupType(name);
    return type.toObject(type.decode(bytes), { longs: Number });
  };
  const { code, message, details } = read('google.rpc.Status', metadata.get(DETAILS_KEY)[0] as Buffer);
  const entries = (details as { typeUrl: string; value: Uint8Array }[]).map(({ typeUrl, value }) => {
    const name = typeUrl.replace(/^type\.googleapis\.com\//, '');
    return [name.replace('google.rpc.', ''), read(name, value)] as const;
  });
  return { code, message, details: Object.fromEntries(entries) };
}

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

test('a refusal has its code as the reason, and the field with the place and the suggestion', async () => {
  const client = createBackplaneClient(harness.broker.grpcAddress);
  const explained = (subscription: object) =>
    new Promise<ServiceError>((resolve) => client.explain({ subscription }, (error) => resolve(error!)));
  const error = await explained({ filter: 'process.commandArg.exists(a, a == "x")' });
  const { code, message, details } = statusOf(error);
  assert.deepEqual([code, message], [3, error.details]);
  assert.deepEqual(details, {
    ErrorInfo: {
      ...{ reason: 'filter_invalid', domain: 'backplane' },
      metadata: { line: '1', column: '1', length: '18', suggestion: 'process.command_args' },
    },
    BadRequest: { fieldViolations: [{ field: 'filter', description: error.details }] },
  });
  const topics = statusOf(await explained({ topics: ['proces'] })).details;
  assert.equal((topics.BadRequest as { fieldViolations: { field: string }[] }).fieldViolations[0]?.field, 'topics');
  client.close();
  // Streams end with the same.
  const subscriber = harness.subscribe({ cursor: 'nonsense' });
  await subscriber.end();
  assert.equal((statusOf(subscriber.error!).details.ErrorInfo as { reason: string }).reason, 'cursor_invalid');
});

test('our client has the code that the broker gave, which the status alone does not say', async () => {
  const client = new Client([harness.broker.grpcAddress], () => undefined);
  const codeOf = (request: object) =>
    client
      .subscribe(request, new AbortController().signal)
      .next()
      .then(
        () => 'accepted',
        ({ code }: BackplaneError) => code,
      );
  assert.equal(await codeOf({ filter: 'nonsense' }), 'filter_invalid');
  assert.equal(await codeOf({ cursor: 'nonsense' }), 'cursor_invalid');
  assert.equal(await codeOf({ since: 'nonsense' }), 'invalid_argument');
  client.close();
});

test('each code has its status, and what may be tried again says when', () => {
  const expected: readonly [ErrorCode, number, number][] = [
    ['too_large', 8, 413],
    ['fenced', 10, 409],
    ['failed_precondition', 9, 409],
    ['deadline_exceeded', 4, 408],
    ['resource_exhausted', 8, 429],
  ];
  for (const [code, grpc, http] of expected) {
    const error = new BackplaneError(code, 'why', { retryAfterMs: 2_500 });
    const { details, ...status } = statusOf(callFailure(error));
    assert.deepEqual([status.code, error.httpStatus], [grpc, http], code);
    assert.deepEqual(details.ErrorInfo, { reason: code, domain: 'backplane' });
    assert.deepEqual(details.RetryInfo, { retryDelay: { seconds: 2, nanos: 500_000_000 } });
  }
});
