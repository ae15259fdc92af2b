/**
 * The rules that hold unless the configuration switches them off or gives
 * another rule their name. They are tables: which names, shapes, programs.
 * How a secret is found in a text is the same for all of a kind, in one pass
 * and in time linear in the text: named-secrets.ts, shaped-secrets.ts,
 * program-secrets.ts.
 */
import type { ProgramRule } from './program-forms.js';
import type { ProgramTraits } from './programs-seen.js';
import type { SecretShape } from './shaped-secrets.js';

/** Rules about what follows a name that says that it is a secret (secret-name.ts). */
export const NAME_RULES = [
  'secret-assignment',
  'secret-member',
  'secret-flag',
  'secret-setting',
  'header',
  'sql-password',
] as const;

export const SHAPES: readonly SecretShape[] = [
  { rule: 'bearer', kind: 'bearer', literals: ['bearer'] },
  { rule: 'url-credentials', kind: 'url', literals: ['://'] },
  { rule: 'url-credentials', kind: 'dsn', literals: ['@tcp(', '@udp(', '@unix('] },
  { rule: 'url-signature', kind: 'query', literals: ['sig=', 'signature=', 'hmac='] },
  { rule: 'openssl-pass', kind: 'pass', literals: ['pass:'] },
  { rule: 'jwt', kind: 'jwt', literals: ['eyJ'] },
  { rule: 'pem-key', kind: 'pem', literals: ['-----BEGIN'] },
  { rule: 'aws-key', kind: 'token', literals: ['AKIA', 'ASIA'] },
  { rule: 'sql-password', kind: 'sql', literals: ['identified', 'set password'] },
  { rule: 'url-credentials', kind: 'userinfo', literals: [':pserver:', 'oracle:thin:', 'oracle:oci:'] },
  { rule: 'secret-assignment', kind: 'data', literals: ['secret,id='] },
  {
    rule: 'piped-secret',
    kind: 'piped',
    literals: ['chpasswd', '--password-stdin', '--with-token', '--passphrase-fd'],
  },
  {
    rule: 'piped-secret',
    kind: 'piped',
    literals: ['--pass-stdin', '--stdin', 'sudo', 'passwd', 'smbpasswd', 'kinit', 'cryptsetup'],
  },
  {
    rule: 'provider-token',
    kind: 'token',
    literals: [
      ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_', 'github_pat_', 'glpat-', 'gldt-', 'glrt-', 'glptt-', 'glcbt-'],
      ...['xoxa-', 'xoxb-', 'xoxe-', 'xoxp-', 'xoxr-', 'xoxs-', 'xapp-'],
      ...['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_', 'whsec_', 'sk-', 'AIza', 'npm_', 'hf_', 'pypi-', 'dckr_pat_'],
      ...[
        'hvs.',
        'hvb.',
        'dop_v1_',
        'doo_v1_',
        'shpat_',
        'shpss_',
        'tskey-',
        'SG.',
        'sntrys_',
        'glsa_',
        'lin_api_',
        'dp.pt.',
      ],
      ...['SWMTKN-', 'AGE-SECRET-KEY-', 'nvapi-', 'figd_', 'rubygems_', 'atlasv1.'],
    ],
  },
  {
    rule: 'provider-token',
    kind: 'tail',
    literals: [
      'hooks.slack.com/services/',
      'discord.com/api/webhooks/',
      'api.telegram.org/bot',
      '.webhook.office.com/',
    ],
  },
];

const MYSQL =
  'mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlshow mysqlpump mysqlslap mysqlbinlog mycli mariadb mariadb-dump ' +
  'mariadb-admin mariadb-import mariadb-check mariadb-show mariadb-binlog xtrabackup mariabackup innobackupex mydumper myloader';
const CURL_SWITCHES = '#0123456789afgijklnpqsvBGIJLMNORSZ';
const LDAP =
  'ldapsearch ldapadd ldapmodify ldapdelete ldappasswd ldapwhoami ldapcompare ldapmodrdn ldapexop ldapvi dsconf dsctl dsidm';
const SNMP =
  'snmpget snmpwalk snmpbulkwalk snmpbulkget snmpset snmpgetnext snmptrap snmpinform snmptable snmpdf snmpstatus snmpusm snmptest snmpnetstat snmpvacm snmpdelta snmptranslate';
const SMB =
  'smbclient rpcclient smbcacls smbcquotas smbget smbtree smbtar smbspool nmblookup net winexe wmic pth-winexe samba-tool';

export const PROGRAMS: readonly ProgramRule[] = [
  {
    rule: 'curl-user',
    programs: 'curl',
    forms:
      '-u~U:X, -U~U:X, --user~U:X, --proxy-user~U:X, -E~U:X, --cert~U:X, -x~U:X@, --proxy~U:X@, --socks5~U:X@, --socks5-hostname~U:X@, --preproxy~U:X@',
    switches: CURL_SWITCHES,
  },
  { rule: 'curl-user', programs: 'wget wget2', forms: '--user~U:X' },
  { rule: 'curl-user', programs: 'ab ab2', forms: '-A~U:X, -P~U:X', switches: 'dhiklqrSV', strict: true },
  { rule: 'curl-user', programs: 'hey oha', forms: '-a~U:X', strict: true },
  { rule: 'curl-user', programs: 'http https xh xhs curlie', forms: '-a~U:X', strict: true },
  { rule: 'curl-cookie', programs: 'curl', forms: '-b~C, --cookie~C', switches: CURL_SWITCHES },
  // Only -pSECRET: in "-p name" the name is a database.
  { rule: 'mysql-password', programs: MYSQL, forms: '-pX, password X, old-password X' },
  { rule: 'mysql-password', programs: 'mysqlsh', forms: '-pX, --uri~U:X@, U:X@' },
  { rule: 'mysql-password', programs: 'mycli', forms: '-p X' },
  { rule: 'sshpass-password', programs: 'sshpass', forms: '-p~X', ownFlags: 'fdP' },
  {
    rule: 'redis-password',
    programs: 'redis-cli valkey-cli keydb-cli redis-benchmark valkey-benchmark',
    forms: '-a~X, AUTH X, auth X',
  },
  {
    rule: 'mongo-password',
    programs: 'mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop mongofiles',
    forms: '-p~X',
  },
  { rule: 'ldap-password', programs: LDAP, forms: '-w~X' },
  { rule: 'ldap-password', programs: 'ldappasswd', forms: '-s~X, -a~X' },
  { rule: 'ldap-password', programs: 'slappasswd', forms: '-s~X' },
  { rule: 'ldap-password', programs: 'kadmin kadmin.local ipa-client-install ipa-replica-install', forms: '-w~X' },
  { rule: 'ldap-password', programs: 'ipa-server-install', forms: '-p~X, -a~X' },
  {
    rule: 'zip-password',
    programs: 'zip unzip zipcloak zipinfo',
    forms: '-P~X',
    switches: 'rqejvmoujnlxTDyXAc0123456789',
  },
  { rule: 'archive-password', programs: '7z 7za 7zr 7zz p7zip', forms: '-pX' },
  { rule: 'archive-password', programs: 'rar unrar', forms: '-pX, -hpX' },
  {
    rule: 'sqlserver-password',
    programs: 'sqlcmd bcp osql isql fisql tsql bsqldb bsqlodbc freebcp defncopy mssql-cli',
    forms: '-P~X',
  },
  // unixODBC's: the flags are those of others that are called so, Sybase's and Firebird's.
  {
    rule: 'database-password',
    programs: 'isql iusql',
    forms: '^U U X',
    valued:
      '-U -P -S -D -H -I -J -i -o -s -t -z -a -u -user -p -pas -password -role -charset -database -input -output -term',
  },
  { rule: 'oracle-password', programs: 'sqlplus sqlcl exp imp expdp impdp sqlldr rman', forms: 'U/X@', strict: true },
  {
    rule: 'database-password',
    programs: 'cqlsh cypher-shell beeline cbq couchbase-cli elasticsearch-users',
    forms: '-p~X',
  },
  { rule: 'database-password', programs: 'gbak gfix gsec isql-fb', forms: '-p X, -pas X, -pass X, -pw X' },
  { rule: 'database-password', programs: 'neo4j-admin', forms: 'set-initial-password X' },
  { rule: 'database-password', programs: 'solr', forms: '-u~U:X' },
  { rule: 'database-password', programs: 'zkCli.sh', forms: 'addauth U U:X' },
  { rule: 'database-password', programs: 'db2', forms: 'using X' },
  { rule: 'database-password', programs: 'etcdctl', forms: '--user~U:X, user add U:X' },
  { rule: 'key-passphrase', programs: 'ssh-keygen', forms: '-N~X, -P~X', switches: 'AcegHhiklLpquvyB' },
  { rule: 'key-passphrase', programs: 'pk12util', forms: '-W~X, -K~X' },
  { rule: 'openssl-key', programs: 'openssl', forms: '-k X, -K X, -hmac X, key:X, hexkey:X, passwd: LAST' },
  {
    rule: 'login-password',
    programs: 'docker podman nerdctl buildah skopeo helm crane oc az oras regctl',
    forms: 'login: -p~X',
  },
  { rule: 'smb-password', programs: SMB, forms: '-U~U%X, --user~U%X', strict: true },
  { rule: 'smb-password', programs: 'wbinfo', forms: '-a~U%X' },
  { rule: 'smb-password', programs: 'net', forms: 'use U X, use U U X', strict: true },
  { rule: 'smb-password', programs: 'samba-tool', forms: 'user create U X, user add U X' },
  {
    rule: 'remote-login-password',
    programs: 'xfreerdp xfreerdp3 wlfreerdp sdl-freerdp wfreerdp',
    forms: '/p:X, /gp:X, /pth:X, -p~X',
  },
  {
    rule: 'remote-login-password',
    programs: 'rdesktop ipmi-sensors ipmi-sel ipmi-chassis ipmi-fru ipmipower racadm vncdo',
    forms: '-p~X',
  },
  { rule: 'remote-login-password', programs: 'ipmitool', forms: '-P~X' },
  {
    rule: 'remote-login-password',
    programs: 'hydra medusa ncrack crackmapexec netexec nxc evil-winrm smbmap',
    forms: '-p~X',
  },
  {
    rule: 'remote-login-password',
    programs:
      'psexec.py wmiexec.py smbexec.py atexec.py secretsdump.py smbclient.py GetUserSPNs.py GetNPUsers.py impacket-psexec impacket-wmiexec impacket-smbexec impacket-secretsdump impacket-smbclient',
    forms: 'U:X@',
  },
  { rule: 'remote-login-password', programs: 'govc', forms: '-u~U:X@' },
  { rule: 'remote-login-password', programs: 'knife', forms: '-P~X' },
  { rule: 'snmp-secret', programs: 'check_snmp', forms: '-C~X, -A~X, -X~X' },
  { rule: 'snmp-secret', programs: SNMP, forms: '-A~X, -X~X, -c~X' },
  { rule: 'message-password', programs: 'mosquitto_pub mosquitto_sub mosquitto_rr', forms: '-P~X' },
  { rule: 'message-password', programs: 'mosquitto_passwd', forms: '-b LAST', switches: 'cH' },
  {
    rule: 'message-password',
    programs: 'rabbitmqctl',
    forms: 'add_user U X, change_password U X, authenticate_user U X',
  },
  { rule: 'message-password', programs: 'rabbitmqadmin', forms: '-p~X' },
  { rule: 'message-password', programs: 'ejabberdctl prosodyctl', forms: 'register U U X, change_password U U X' },
  { rule: 'message-password', programs: 'swaks', forms: '-ap X, --ap X' },
  { rule: 'message-password', programs: 'sendemail sendEmail', forms: '-xp X' },
  { rule: 'account-password', programs: 'htpasswd', forms: '-b LAST', switches: 'cnmdspBi25CrvD' },
  { rule: 'account-password', programs: 'mkpasswd', forms: 'LAST' },
  { rule: 'account-password', programs: 'useradd usermod groupadd groupmod', forms: '-p~X' },
  { rule: 'account-password', programs: 'doveadm', forms: 'pw: -p~X, auth test U X, auth login U X' },
  { rule: 'account-password', programs: 'testsaslauthd', forms: '-p~X' },
  { rule: 'account-password', programs: 'add-user.sh', forms: '-p~X, ^U X' },
  { rule: 'account-password', programs: 'radtest', forms: '^U X' },
  { rule: 'account-password', programs: 'squidclient', forms: '-w~X, -W~X' },
  { rule: 'account-password', programs: 'grafana-cli grafana', forms: 'reset-admin-password X' },
  { rule: 'account-password', programs: 'caddy', forms: 'hash-password: --plaintext~X' },
  { rule: 'account-password', programs: 'check_http check_tcp', forms: '-a~U:X, -b~U:X' },
  { rule: 'account-password', programs: 'check_mysql check_pgsql check_ldap', forms: '-p~X' },
  { rule: 'wireless-key', programs: 'wpa_passphrase', forms: '^U X' },
  { rule: 'wireless-key', programs: 'iwconfig iw', forms: 'key X' },
  { rule: 'disk-password', programs: 'veracrypt truecrypt zuluCrypt-cli', forms: '-p~X' },
  {
    rule: 'pin',
    programs: 'pkcs11-tool pkcs15-tool pkcs15-init softhsm2-util p11tool',
    forms: '--pin~X, --so-pin~X, --new-pin~X, --puk~X, -p~X',
  },
  { rule: 'pin', programs: 'ykman yubico-piv-tool', forms: '--pin~X, --puk~X, --new-pin~X, --new-puk~X, -P~X' },
  { rule: 'transfer-password', programs: 'lftp open', forms: '-u~U,X', strict: true },
  { rule: 'transfer-password', programs: 'ncftp ncftpget ncftpput ncftpls yt-dlp youtube-dl', forms: '-p~X' },
  { rule: 'transfer-password', programs: 'rclone', forms: 'obscure X' },
  { rule: 'transfer-password', programs: 'transmission-remote', forms: '-n~U:X' },
  { rule: 'transfer-password', programs: 'p4', forms: '-P~X', strict: true },
  { rule: 'dns-key', programs: 'dig nsupdate rndc delv host', forms: '-y~U:X', strict: true },
  { rule: 'cookie', programs: 'erl werl iex elixir beam.smp beam mix', forms: '-setcookie X, --cookie~X' },
  { rule: 'cloud-secret', programs: 'vault bao', forms: 'kv put: K=X, kv patch: K=X, login X' },
  {
    rule: 'cloud-secret',
    programs: 'vault bao',
    forms: 'unwrap X, unseal X, token: revoke X, token: renew X, token: lookup X',
  },
  { rule: 'cloud-secret', programs: 'kubectl oc', forms: 'create secret: --from-literal~K=X' },
  { rule: 'cloud-secret', programs: 'aws', forms: 'put-parameter: --value~X' },
  { rule: 'cloud-secret', programs: 'az', forms: 'secret set: --value~X' },
  {
    rule: 'cloud-secret',
    programs: 'gh glab',
    forms: 'secret set: -b~X, secret set: --body~X, variable set: -v~X, login: -t~X',
  },
  { rule: 'cloud-secret', programs: 'fly flyctl doppler supabase', forms: 'secrets set: K=X' },
  { rule: 'cloud-secret', programs: 'doppler', forms: 'secrets set U X' },
  { rule: 'cloud-secret', programs: 'dotnet', forms: 'user-secrets set U X' },
  { rule: 'cloud-secret', programs: 'pulumi', forms: 'config set U X' },
  { rule: 'cloud-secret', programs: 'doctl', forms: '-t~X' },
  { rule: 'cloud-secret', programs: 'bw', forms: 'unlock X, login U X' },
  { rule: 'cloud-secret', programs: 'ngrok', forms: 'authtoken X, add-authtoken X' },
  { rule: 'cloud-secret', programs: 'cloudflared', forms: 'service install X' },
  { rule: 'cloud-secret', programs: 'virsh', forms: 'secret-set-value U X' },
  { rule: 'package-token', programs: 'cargo', forms: 'login X' },
  { rule: 'package-token', programs: 'twine', forms: '-p~X' },
  { rule: 'package-token', programs: 'nuget choco dotnet', forms: 'push: -k~X, apikey: -k~X, setapikey X' },
  { rule: 'package-token', programs: 'gitlab-runner', forms: 'register: -r~X' },
  {
    rule: 'package-token',
    programs: 'poetry composer',
    forms: 'config: http-basic.* U X, config: github-oauth.* X, config: bearer.* X',
  },
  { rule: 'package-token', programs: 'bundle', forms: 'config: U:X' },
  { rule: 'cloud-secret', programs: 'mc', forms: 'alias set U U U X, host add U U U X', strict: true },
  { rule: 'cloud-secret', programs: 'gcloud', forms: 'activate-refresh-token U X' },
  { rule: 'package-token', programs: 'npm pnpm yarn gem', forms: '--otp~X' },
];

export const TRAITS: readonly ProgramTraits[] = [
  { programs: 'git gh hub glab svn hg', prose: true },
  {
    programs:
      'git docker docker-compose podman nerdctl buildah skopeo crane ctr crictl kind minikube k3d helm kubectl chown chgrp install scp rsync ' +
      'npm pnpm yarn npx bun deno rake rails php artisan composer mix make gradle gradlew mvn bazel nx turbo task just journalctl getent heroku rclone restic borg redis-cli valkey-cli',
    tags: true,
  },
  { programs: 'docker podman nerdctl buildah docker-compose', harmless: '--secret' },
  { programs: 'aws', harmless: '--secret-id --secret-arn --credential' },
  { programs: 'gcloud', harmless: '--secret' },
  { programs: 'grep egrep fgrep zgrep rg ag ack', prose: true },
  { programs: 'pulumi', harmless: '--secret' },
  { programs: 'kubectl helm', harmless: '--secret --image-pull-secret --tls-secret' },
  { programs: 'nmcli wpa_cli rclone mysqladmin', settings: true },
];

export const DEFAULT_RULE_NAMES: readonly string[] = [
  ...new Set([...NAME_RULES, ...SHAPES.map(({ rule }) => rule), ...PROGRAMS.map(({ rule }) => rule)]),
];
