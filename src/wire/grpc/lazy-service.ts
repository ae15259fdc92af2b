/**
 * gRPC services of libraries that take long to load, in a server that starts without them: its calls are described here,
 * and served by the library from the first call on.
 */
import {
  type Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { BackplaneError } from '../../errors.js';

/** By method, whether requests and responses are streams. */
type Methods = Readonly<Record<string, { readonly requestStream: boolean; readonly responseStream: boolean }>>;

interface Service {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

type Call = ServerDuplexStream<Buffer, Buffer> & ServerUnaryCall<Buffer, Buffer>;

/**
 * @param name with its package
 * @param load adds the service to the server that it is given, under the same name
 */
export function addLazyService(
  server: Server,
  name: string,
  methods: Methods,
  load: (server: Server) => Promise<void>,
): void {
  let loaded: Promise<Service> | undefined;
  const asIs = (bytes: Buffer) => bytes;
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [method, streams] of Object.entries(methods)) {
    definition[method] = {
      ...{ path: `/${name}/${method}`, ...streams },
      ...{ requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs },
    };
    const handle = (call: Call, respond?: sendUnaryData<Buffer>) => {
      loaded ??= loadService(name, load);
      const fail = (cause: unknown) => {
        const failure =
          cause instanceof BackplaneError
            ? { code: cause.grpcStatus, details: cause.message }
            : { code: status.INTERNAL, details: String(cause) };
        if (respond === undefined) call.emit('error', failure);
        else respond(failure);
      };
      loaded.then((service) => call.cancelled || serve(service, method, call, respond, fail)).catch(fail);
    };
    implementation[method] = handle as UntypedServiceImplementation[string];
  }
  server.addService(definition, implementation);
}

async function loadService(name: string, load: (server: Server) => Promise<void>): Promise<Service> {
  let found: Service | undefined;
  const collecting: Pick<Server, 'addService'> = {
    addService(definition, implementation) {
      if (Object.values(definition)[0]?.path.startsWith(`/${name}/`)) found = { definition, implementation };
    },
  };
  await load(collecting as Server);
  if (found === undefined) throw new Error(`the library has no service ${name}`);
  return found;
}

/** Throws for a request that cannot be decoded; of a stream `fail` is told of it. */
function serve(
  service: Service,
  method: string,
  call: Call,
  respond: sendUnaryData<Buffer> | undefined,
  fail: (cause: unknown) => void,
): void {
  let hasFailed = false;
  const { requestDeserialize, responseSerialize, requestStream, originalName = method } = service.definition[method]!;
  const handle = (service.implementation[method] ?? service.implementation[originalName])! as (
    call: object,
    answer?: sendUnaryData<object>,
  ) => void;
  const read = (bytes: Buffer) => {
    try {
      return requestDeserialize(bytes) as object;
    } catch (cause) {
      throw new BackplaneError('invalid_argument', `the request cannot be decoded: ${(cause as Error).message}`);
    }
  };
  const listen = (event: string, listener: (message: object) => void) =>
    call.on(event, event !== 'data' ? listener : (bytes: Buffer) => take(bytes, listener));
  // Nobody would catch what is thrown while the stream tells of a message.
  const take = (bytes: Buffer, listener: (message: object) => void) => {
    if (hasFailed) return;
    try {
      listener(read(bytes));
    } catch (cause) {
      hasFailed = true;
      fail(cause);
    }
  };
  const decoded = {
    request: requestStream ? undefined : read(call.request),
    on: listen,
    write: (message: object) => call.write(responseSerialize(message)),
    end: () => call.end(),
  };
  handle(decoded, respond && ((error, answer) => respond(error, answer ? responseSerialize(answer) : undefined)));
}
