// Asks DuckDB the README's questions of freshly exported files, which are below the
// working directory, and whether the tables agree with each other.
//
//   node questions.mjs README.md
import { readFileSync } from 'node:fs';
import { DuckDBInstance } from '@duckdb/node-api';

const readme = readFileSync(process.argv[2], 'utf8');
const questions = [...readme.matchAll(/```sql\n(.*?)```/gs)].map((m) => m[1]);
if (questions.length < 5) throw new Error(`the README asks ${questions.length} questions, not 5`);

const db = await (await DuckDBInstance.create()).connect();
const ask = async (sql) => (await db.runAndReadAll(sql)).getRowObjectsJson();

for (const sql of questions) {
  const rows = await ask(sql);
  console.log(sql.split('\n')[0], `: ${rows.length} rows, as`, JSON.stringify(rows[0]));
  if (rows.length === 0) throw new Error(`no answer to: ${sql}`);
}

const events = "'export/events/*/*.parquet'";
const transitions = "'export/transitions/*/*.parquet'";
const intervals = "'export/intervals/*/*.parquet'";
const movements = "'export/movements/*/*.parquet'";
const orders = "'export-orders/orders/*/*.parquet'";
const agreements = {
  'movements add up to the orders': [`SELECT sum(amount) FROM ${movements}`, `SELECT sum(coalesce(paid, 0) - coalesce(refunded, 0)) FROM ${orders}`],
  'every order has one open interval, of its status': [`SELECT count(*) FROM ${intervals} i JOIN ${orders} o USING (order_id, status) WHERE i."left" IS NULL`,
    `SELECT count(*) FROM ${orders}`],
  'transitions are events': [`SELECT count(*) FROM ${transitions}`, `SELECT count(*) FROM ${events} WHERE status_from <> status_to`],
  'orders have their events': [`SELECT sum(revision) FROM ${orders}`, `SELECT count(*) FROM ${events}`],
  'days are those of the rows': [`SELECT count(*) FROM ${events} WHERE recorded_day = (recorded_at AT TIME ZONE 'UTC')::DATE`, `SELECT count(*) FROM ${events}`],
  'money is of type BIGINT and times have a zone': [`SELECT DISTINCT typeof(total) || typeof(recorded_at) FROM ${events}`, `SELECT 'BIGINTTIMESTAMP WITH TIME ZONE'`],
  'every partition is in order': [`SELECT count(*) FROM (SELECT sequence - lag(sequence) OVER (PARTITION BY partition ORDER BY sequence) AS step FROM ${events}) WHERE step <> 1`, 'SELECT 0'],
};
for (const [what, [left, right]] of Object.entries(agreements)) {
  const [a, b] = [await ask(left), await ask(right)].map((rows) => String(Object.values(rows[0])[0]));
  if (a !== b) throw new Error(`${what}: ${a} is not ${b}`);
}
console.log(`${questions.length} questions answered, ${Object.keys(agreements).length} agreements hold`);
