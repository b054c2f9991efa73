// Follows the log of Comanda, or waits for an order:
//
//   node comanda.mjs HOST:PORT follow TENANT TOKEN_FILE [UNTIL_STATUS]
//   node comanda.mjs HOST:PORT wait TENANT REFERENCE
//
// COMANDA_TOKEN is the bearer token, COMANDA_CA a PEM file of authorities, for TLS.
import { readFileSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const proto = fileURLToPath(new URL('../..', import.meta.url)); // the folder of comanda/ and buf/
const { comanda } = grpc.loadPackageDefinition(protoLoader.loadSync(
  ['comanda/v1/events.proto', 'comanda/v1/order.proto'],
  { includeDirs: [proto], keepCase: true, longs: String, enums: String, oneofs: true },
));

// What may pass by itself. The server refuses for good with FAILED_PRECONDITION (the token
// is of another log or filter), INVALID_ARGUMENT, UNAUTHENTICATED and PERMISSION_DENIED.
const { UNAVAILABLE, ABORTED, CANCELLED, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, RESOURCE_EXHAUSTED } = grpc.status;
const passing = new Set([UNAVAILABLE, ABORTED, CANCELLED, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, RESOURCE_EXHAUSTED]);

// pauses waits longer each time, up to 10 s, a half of it left to chance, and throws
// what is final.
function pauses() {
  let wait = 50;
  return {
    reset() { wait = 50; },
    async after(error) {
      if (!passing.has(error.code)) throw error;
      console.error(`again, after ${error.message}`);
      wait = Math.min(2 * wait, 10_000);
      await sleep(wait / 2 + Math.random() * wait / 2);
    },
  };
}

// follow hands every event of a tenant to handle, once and in order, until it answers true.
// The token file says where to go on, also after this process: it is written when an event
// was handled. Who needs effect and token to be one writes both in one transaction.
async function follow(events, metadata, tenant, tokenFile, handle) {
  let token = await readFile(tokenFile, 'utf8').catch((error) => {
    if (error.code !== 'ENOENT') throw error;
    return '';
  });
  const keep = async (next) => {
    if (!next || next === token) return;
    await writeFile(`${tokenFile}.tmp`, next);
    await rename(`${tokenFile}.tmp`, tokenFile);
    token = next;
  };
  for (const pause = pauses(); ;) {
    const start = token ? { resume_token: token } : { beginning: {} };
    const stream = events.Subscribe({ ...start, filter: { tenants: [tenant] } }, metadata);
    stream.on('error', () => {}); // also after the loop has ended
    let ended = Object.assign(new Error('the stream ended without a reason'), { code: UNAVAILABLE });
    try {
      for await (const m of stream) { // reads on when the last event was handled
        pause.reset();
        const done = m.message === 'event' && await handle(m.event.event);
        await keep(m[m.message]?.resume_token); // every kind of message has one
        if (done) return;
      }
    } catch (error) {
      ended = error;
    } finally {
      stream.cancel();
    }
    await pause.after(ended);
  }
}

// waitSettled answers the tenant's order with a reference when it is no longer pending, over
// as many calls as that takes; it need not exist yet.
async function waitSettled(orders, metadata, tenant, reference) {
  const request = { tenant_reference: { tenant, reference }, settled: true, timeout: { seconds: 30 } };
  for (const pause = pauses(); ;) {
    const [error, answer] = await new Promise((resolve) => {
      const deadline = Date.now() + 40_000; // later than the timeout, to hear the answer
      orders.WaitOrder(request, metadata, { deadline }, (...heard) => resolve(heard));
    });
    if (answer?.met) return answer.order;
    if (error) await pause.after(error);
    else pause.reset();
  }
}

const word = (status) => status.replace('ORDER_STATUS_', '').toLowerCase();

const [server, command, tenant, name, until] = process.argv.slice(2);
const { COMANDA_TOKEN: bearer, COMANDA_CA: ca } = process.env;
const metadata = new grpc.Metadata();
if (bearer) {
  if (!ca && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\]):\d+$/.test(server)) {
    throw new Error('a token is not sent beyond loopback in the clear: set COMANDA_CA');
  }
  metadata.set('authorization', `Bearer ${bearer}`);
}
const credentials = ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure();
const options = {
  'grpc.keepalive_time_ms': 20_000, // finds a dead connection; at most every 10 s
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 10_000,
};

if (command === 'follow' && name) {
  const events = new comanda.v1.EventService(server, credentials, options);
  await follow(events, metadata, tenant, name, (e) => {
    console.log(e.event_id, e.order_id, e.revision, word(e.status_to));
    return word(e.status_to) === until;
  });
  events.close();
} else if (command === 'wait' && name) {
  const orders = new comanda.v1.OrderService(server, credentials, options);
  const order = await waitSettled(orders, metadata, tenant, name);
  console.log(order.order_id, order.revision, word(order.status));
  orders.close();
} else {
  console.error('usage: node comanda.mjs HOST:PORT follow TENANT TOKEN_FILE [UNTIL_STATUS] | wait TENANT REFERENCE');
  process.exitCode = 2;
}
