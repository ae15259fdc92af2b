/** The default rules mask secrets in command lines, and nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Pacer } from '../../../src/flow/pacer.js';
import { Redactor } from '../../../src/sensor-agent/redaction/redactor.js';
import { compileRules } from '../../../src/sensor-agent/redaction/rule.js';
import { runs } from '../../harness/runs.js';

const redactor = new Redactor(compileRules({ rules: [], off: [] }), new Pacer(1, Number.POSITIVE_INFINITY));

function redact(args: readonly string[], argsTruncated = false, executablePath?: string) {
  const { args: masked, redactions } = redactor.redact({
    pid: 1,
    parentPid: 1,
    comm: 'x',
    args,
    argsTruncated,
    executablePath,
  });
  return { args: masked!, redactions: redactions ?? 0 };
}

/** In words that have no space; the second is what becomes of them. */
const MASKED_WORDS: readonly (readonly [string, string])[] = [
  ['mysql --password=hunter2', 'mysql --password=***'],
  ['mysql --password hunter2 -h db', 'mysql --password *** -h db'],
  ['curl https://bob:hunter2@example.org/x', 'curl https://bob:***@example.org/x'],
  ['curl https://bob:hun@ter2@example.org/x', 'curl https://bob:***@example.org/x'],
  ['env AWS_SECRET_ACCESS_KEY=abc/def+1', 'env AWS_SECRET_ACCESS_KEY=***'],
  ['env PGPASSWORD=a&b;c', 'env PGPASSWORD=***'],
  ['app token=abc x=1', 'app token=*** x=1'],
  ['app dbPassword=abc --clientSecret=d', 'app dbPassword=*** --clientSecret=***'],
  [
    'git clone https://ghp_0123456789abcdefghijABCDEFGHIJ012345@github.example/x',
    'git clone https://***@github.example/x',
  ],
  ['psql postgres://app:p%40ss@db:5432/app?sslmode=off', 'psql postgres://app:***@db:5432/app?sslmode=off'],
  ['x DB_PASSWORD=a DB_PASSWD=b client_secret:c', 'x DB_PASSWORD=*** DB_PASSWD=*** client_secret:***'],
  ['docker run -e TOKEN=x --env=API_KEY=y -p 8080:80 i', 'docker run -e TOKEN=*** --env=API_KEY=*** -p 8080:80 i'],
  ['x --auth a:b --api-key k --client-secret s', 'x --auth *** --api-key *** --client-secret ***'],
  ['x --auth=a:b --api-key=k --client-secret=s', 'x --auth=*** --api-key=*** --client-secret=***'],
  [
    'x --token-file /t --token t --password-stdin --secret s',
    'x --token-file /t --token *** --password-stdin --secret ***',
  ],
  ['mysql -uroot -phunter2 db', 'mysql -uroot -p*** db'],
  ['/usr/bin/mysqldump -h db -phunter2', '/usr/bin/mysqldump -h db -p***'],
  ['sudo mariadb -phunter2', 'sudo mariadb -p***'],
  ['mysqladmin -u root password hunter2', 'mysqladmin -u root password ***'],
  ['curl -u bob:hunter2 https://x', 'curl -u bob:*** https://x'],
  ['curl -fsSLubob:hunter2 https://x/?a=1&b=2', 'curl -fsSLubob:*** https://x/?a=1&b=2'],
  ['curl https://x --user bob:hunter2 -U p:q', 'curl https://x --user bob:*** -U p:***'],
  ['wget --user=bob:hunter2 --http-password=x y', 'wget --user=bob:*** --http-password=*** y'],
  ['curl -b session=abc;x=y https://x', 'curl -b *** https://x'],
  ['curl --cookie session=abc https://x', 'curl --cookie *** https://x'],
  ['sshpass -p hunter2 ssh -p 22 host', 'sshpass -p *** ssh -p 22 host'],
  ['sshpass -v -phunter2 ssh -p 22 host', 'sshpass -v -p*** ssh -p 22 host'],
  ['redis-cli -h db -a hunter2 ping', 'redis-cli -h db -a *** ping'],
  [
    'openssl rsa -in k.pem -passin pass:hunter2 -passout pass:x',
    'openssl rsa -in k.pem -passin pass:*** -passout pass:***',
  ],
  ['openssl enc -aes-256-cbc -k hunter2 -in x', 'openssl enc -aes-256-cbc -k *** -in x'],
  ['docker login -u bob -p hunter2 registry', 'docker login -u bob -p *** registry'],
  ['docker --debug login -phunter2', 'docker --debug login -p***'],
  ['ldapsearch -D cn=x -w hunter2', 'ldapsearch -D cn=x -w ***'],
  ['zip -P hunter2 a.zip b', 'zip -P *** a.zip b'],
  ['x AKIAIOSFODNN7EXAMPLE', 'x ***'],
  ['x github_pat_0123456789abcdef01234', 'x ***'],
  ['x gho_0123456789abcdefghij glpat-0123456789abcdef_012', 'x *** ***'],
  ['x xoxb-0123456789-abcdefghij --k=sk_live_0123456789abcdefXYZ', 'x *** --k=***'],
  ['x sk-proj-0123456789abcdefghij AIzaSyA0123456789abcdefghijklmnopqrstu', 'x *** ***'],
  ['x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln_-b y', 'x *** y'],
];

/** One argument with spaces, given to `sh -c` and as it becomes. */
const MASKED_TEXTS: readonly (readonly [string, string])[] = [
  [`PGPASSWORD='a b c' psql -h db`, 'PGPASSWORD=*** psql -h db'],
  ['PGPASSWORD="a \\" c" psql -h db', 'PGPASSWORD=*** psql -h db'],
  ['PGPASSWORD=a\\ b psql -h db', 'PGPASSWORD=*** psql -h db'],
  ['export API_KEY="s3cr3t"; run --token abc now', 'export API_KEY=***; run --token *** now'],
  [`psql "host=db password=abc dbname=x"`, 'psql "host=db password=*** dbname=x"'],
  [`psql "host=db password='a b' dbname=x"`, 'psql "host=db password=*** dbname=x"'],
  [`mysql -uroot -p'a b' db; ssh -p 22 h`, 'mysql -uroot -p*** db; ssh -p 22 h'],
  [`cd /x && curl -su 'bob:a b' https://x | jq .`, `cd /x && curl -su 'bob:***' https://x | jq .`],
  [
    `curl -H 'Authorization: Bearer a.b' -H "Cookie: a=b; c=d" https://x`,
    `curl -H 'Authorization: Bearer ***' -H "Cookie: ***" https://x`,
  ],
  [`curl "https://x/?token=abc&y=1" -o f`, 'curl "https://x/?token=***&y=1" -o f'],
  [`curl -d '{"user":"u","password":"a b","n":1}' x`, `curl -d '{"user":"u","password":"***","n":1}' x`],
  [`curl -d "{\\"password\\":\\"a b\\"}" x`, `curl -d "{\\"password\\":\\"***\\"}" x`],
  [`sshpass -p 'a b' ssh -p 22 h`, 'sshpass -p *** ssh -p 22 h'],
  [`redis-cli -a "a b" ping`, 'redis-cli -a *** ping'],
  [`openssl rsa -passin 'pass:a b' -in k`, `openssl rsa -passin 'pass:***' -in k`],
  [`docker login -u x -p 'a b' r && docker run -p 8080:80 i`, 'docker login -u x -p *** r && docker run -p 8080:80 i'],
  [`app "--password=a b" '--token=c d' -x`, `app "--password=***" '--token=***' -x`],
  [`app --password 'a b' --client-secret "c d" -x`, 'app --password *** --client-secret *** -x'],
];

const KEPT: readonly (readonly string[])[] = [
  'ls -la /home/passwords',
  'cat /etc/passwd',
  'passwd bob',
  'curl -sS https://example.org/path@v2 -o f',
  'curl -b cookies.txt -c cookies.txt https://example.org',
  'curl -u bob https://example.org:8080/x',
  'ssh -p 22 bob@example.org',
  'docker run -p 8080:80 -u 1000:1000 --name auth repo/token:latest',
  'docker login --username bob --password-stdin registry',
  'sudo -u root id',
  'mkdir -p a',
  'cp -p a b',
  'ps -p 1',
  'mysql -p -u root db',
  'mysql -P 3306 --protocol=tcp -h db',
  'find /var/lib/mysql -print',
  'sshpass -f /x ssh -p 22 h',
  'sshpass -e ssh -p 22 h',
  'redis-cli -h db ping',
  'openssl req -key k.pem -out x',
  'x --token-file /path --password-file /x --no-password db --secret-name n --max-tokens 5 --tokenizer t',
  'x --token-file=/path PASSWORD_FILE=/x SSH_AUTH_SOCK=/x PWD=/home OLDPWD=/',
  'x --password --verbose',
  'pip install sk-learn',
  'git commit -m keyboard',
  'git -c credential.helper=store fetch',
  'kubectl get secrets -n x',
  'ffmpeg -pass 2 -i x',
  'psql -h db -U bob -p 5432 -d app',
  'tar --key-file x',
  'grep -rn author src',
  'node --inspect dist/main.js',
].map((line) => line.split(' '));
const KEPT_TEXTS = [
  'mkdir -p a && cp -p a b; ssh -p 22 h',
  'docker run -p 8080:80 -u root i | tee x',
  'curl -s https://x/?a=1 | jq -r .token > t',
  'echo "the key of the author"; ls /var/lib/mysql -p',
];

test('secrets in arguments are masked and counted', () => {
  for (const [given, expected] of MASKED_WORDS) {
    const { args, redactions } = redact(given.split(' '));
    assert.equal(args.join(' '), expected);
    assert.equal(args.length, given.split(' ').length);
    assert.equal(redactions, expected.split('***').length - 1, given);
  }
});

test('secrets in a command text are masked, quoted ones as a whole', () => {
  for (const [given, expected] of MASKED_TEXTS) {
    assert.deepEqual(redact(['sh', '-c', given]).args, ['sh', '-c', expected]);
    assert.deepEqual(redact(['ssh', 'host', `true; ${given}`]).args, ['ssh', 'host', `true; ${expected}`]);
  }
});

test('headers, cookies and keys in an argument are masked to its end', () => {
  for (const [given, expected] of [
    ['Authorization: Bearer abc.def ghi', 'Authorization: Bearer ***'],
    ['Authorization: Basic YTpi', 'Authorization: Basic ***'],
    ['Proxy-Authorization: Digest username="bob", response="x y"', 'Proxy-Authorization: Digest ***'],
    ['Cookie: a=b; c="d e"', 'Cookie: ***'],
    ['X-Api-Key: a b', 'X-Api-Key: ***'],
    ['PRIVATE-TOKEN: a b', 'PRIVATE-TOKEN: ***'],
  ] as const) {
    assert.deepEqual(redact(['curl', '-H', given, 'https://x']).args, ['curl', '-H', expected, 'https://x']);
    assert.deepEqual(redact(['curl', `--header=${given}`]).args, ['curl', `--header=${expected}`]);
  }
  const key = '-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----';
  assert.deepEqual(redact(['x', `--k=${key}`, 'y']).args, [
    'x',
    '--k=-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----',
    'y',
  ]);
});

test('a rule for a program applies also when it is started by its path', () => {
  assert.deepEqual(redact(['renamed', '-phunter2'], false, '/usr/bin/mysql').args, ['renamed', '-p***']);
  assert.deepEqual(redact(['renamed', '-phunter2'], false, '/usr/bin/ls').args, ['renamed', '-phunter2']);
});

test('arguments without a secret are left as they are', () => {
  for (const given of [...KEPT, ...KEPT_TEXTS.map((text) => ['sh', '-c', text]), ['', '-', '--', '='], ['']]) {
    assert.deepEqual(redact(given, false, `/usr/bin/${given[0]}`), { args: given, redactions: 0 });
  }
});

/** From the start of a secret on, arguments may be cut anywhere. */
test('a secret that is cut by the length limit is masked', () => {
  const secret = 'Zq7xW9vB2nM4kL6jH8gF';
  for (const [before, whole] of [
    [['x', '--password='], secret],
    [['x', '--password', ''], secret],
    [['sh', '-c', "PGPASSWORD='"], `a ${secret} b`],
    [['x', 'https://bob:'], secret],
    [['curl', '-u', 'bob:'], secret],
    [['mysql', '-p'], secret],
    [['x', '-----BEGIN PRIVATE KEY-----\n'], secret],
    [['x', ''], `AKIA${'Z7'.repeat(8)}`],
    [['x', ''], `ghp_${secret}`],
    [['x', 'eyJhbGciOiJIUzI1NiJ9.'], secret],
    [['curl', '-H', 'Authorization: Bearer '], secret],
    [['x', 'bearer '], secret],
  ] as const) {
    for (let length = 5; length <= whole.length; length += 1) {
      const part = whole.slice(0, length);
      const given = [...before.slice(0, -1), `${before.at(-1)}${part}`];
      const masked = redact(given, true).args.join(' ');
      assert.ok(!masked.includes(part), `${masked} of ${given.join(' ')}`);
    }
  }
});

const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'.split('');
const secretOf = (more: string) =>
  fc.array(fc.constantFrom(...letters, ...more), { minLength: 12, maxLength: 30 }).map((all) => `Z${all.join('')}9`);
const PLACES: readonly ((secret: string) => string[])[] = [
  (s) => [`--password=${s}`],
  (s) => ['--db-password', s],
  (s) => ['--client-secret', s],
  (s) => [`--api_key=${s}`],
  (s) => [`MY_TOKEN=${s}`],
  (s) => ['-e', `AWS_SECRET_ACCESS_KEY=${s}`],
  (s) => ['-H', `Authorization: Bearer ${s}`],
  (s) => ['-H', `Cookie: id=${s}`],
  (s) => ['curl', '-s', '-u', `bob:${s}`],
  (s) => ['redis-cli', '-a', s],
  (s) => ['sshpass', '-p', s],
  (s) => ['mysql', '-u', 'root', `-p${s}`],
  (s) => ['docker', 'login', '-p', s],
  (s) => ['-passin', `pass:${s}`],
  (s) => [`-----BEGIN EC PRIVATE KEY-----\n${s}\n-----END EC PRIVATE KEY-----`],
];
const TEXT_PLACES: readonly ((secret: string) => string)[] = [
  (s) => `PGPASSWORD='${s}' psql -h x`,
  (s) => `x --token "${s}" y`,
  (s) => `export SECRET_KEY='${s}'; y`,
  (s) => `mysql -h x -p'${s}' y`,
  (s) => `curl -u 'bob:${s}' https://x`,
  (s) => `curl -H 'Authorization: Basic ${s}' https://x`,
  (s) => `psql "host=x password='${s}' user=y"`,
];
const ordinary = fc.constantFrom(...KEPT);

test('a secret at any place in a command line is not in the recording', () => {
  const placed = fc.oneof(
    fc
      .tuple(fc.constantFrom(...PLACES), secretOf(' &;,:@$#%()"\'/=+'))
      .map(([place, secret]) => ({ words: place(secret), secret })),
    fc
      .tuple(fc.constantFrom(...TEXT_PLACES), secretOf(' &;,:@#%()/=+'), fc.boolean())
      .map(([place, secret, shell]) => ({ words: [...(shell ? ['sh', '-c'] : ['ssh', 'h']), place(secret)], secret })),
  );
  fc.assert(
    fc.property(placed, ordinary, ordinary, fc.boolean(), ({ words, secret }, before, after, cut) => {
      const given = [...before, ...words, ...after];
      const { args, redactions } = redact(given, cut);
      assert.equal(args.length, given.length);
      assert.ok(redactions >= 1);
      for (let at = 0; at + 6 <= secret.length; at += 1)
        assert.ok(
          !args.some((argument) => argument.includes(secret.slice(at, at + 6))),
          JSON.stringify({ given, args }),
        );
    }),
    { numRuns: runs(2000) },
  );
});
