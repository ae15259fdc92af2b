/**
 * Command lines with a secret: {}. It must become ***, and nothing else may.
 * Words are split at spaces; "~" stands for a space within a word.
 */

/** Flags with a value that is a secret. */
const FLAGS = `
  --password --passwd --passphrase --pass --dbpass --db-pass --userpass --user_pass --pwd --pw --requirepass
  --masterauth --masterpass --adminpass --rootpass --smtp-pass --mail-password --keypass --secret --client-secret
  --clientSecret --app-secret --token --api-token --auth-token --authtoken --access-token --accessToken
  --refresh_token --bot-token --oauth2-bearer --bearer --api-key --apikey --apiKey --access-key --secret-key
  --account-key --encryption-key --master-key --signing-key --authkey --auth-key --license-key --storage-key
  --credential --credentials --auth --http-auth --proxy-auth --jwt --psk --wpa-psk --mnemonic --passcode
  --new-password --password1 --old_password --erlang-cookie --session-cookie --db.password
  --spring.datasource.password --ftp-password --tlspassword --rpc-secret --video-password --become-pass
  --certificate-key --sftp-pass --admin_pwd --wp.dbpass --bindpw -password -passwd -storepass -keypass
  -srcstorepass -deststorepass -destkeypass -http-auth -token -secret -api-key -apikey -ApiKey -pw -pwd -setcookie
  -passphrase -srppass -psk -rootpass`;

/** Names that a secret is assigned to. */
const NAMES = `
  PASSWORD DB_PASSWORD PGPASSWORD MYSQL_PWD REDIS_PASS SECRET SECRET_KEY_BASE CLIENT_SECRET TOKEN GITHUB_TOKEN
  NPM_TOKEN npm_config__authToken AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN API_KEY apiKey dbPassword
  ansible_become_pass RESTIC_PASSWORD BORG_PASSPHRASE VERIFY_TOKEN RESET_TOKEN http.auth jwt keyStorePassword
  secretString token_1 password.old client_credentials JWT_SECRET`;

const list = (text: string) => text.trim().split(/\s+/);
const lines = (text: string) => text.trim().split(/\n\s*/);

/** The secret may be any text: it goes on to the end of its argument. */
export const ANY_TEXT: readonly string[] = [
  ...list(FLAGS).flatMap((flag) => [`prog run ${flag} {} --next`, `prog ${flag}={} --next`]),
  ...list(NAMES).flatMap((name) => [
    `env ${name}={} run`,
    `docker run -e ${name}={} --env=${name}={} image`,
    `prog --set=${name}={}`,
  ]),
  ...lines(`
  java -Djavax.net.ssl.keyStorePassword={} -jar x.jar
  java -Dspring.datasource.password={} -jar x.jar
  mvn -Dgpg.passphrase={} deploy
  gradle -PossrhPassword={} publish
  docker build --build-arg NPM_TOKEN={} .
  terraform apply -var db_password={}
  helm install x ./c --set auth.password={}
  kubectl create secret generic x --from-literal=foo={}
  kubectl create secret generic x --from-literal token={}
  kubectl create secret docker-registry x --docker-username=u --docker-password={}
  kubectl config set-credentials bob --token={}
  mount -t cifs -o username=u,password={} //h/s /mnt
  wp user create bob b@x --user_pass={}
  npm publish --otp={}
  az storage blob list --account-key {}
  aws iam create-login-profile --user-name u --password {}
  gcloud sql users set-password root --instance=i --password={}
  gpg --batch --passphrase {} -d x.gpg
  kafka-x --property sasl.password={}
  filebeat -E output.elasticsearch.password={}
  openssl s_client -psk {} -connect h:443
  mysql -uroot -p{} db
  mysqldump --single-transaction -p{} db
  mariadb -p{}
  mysqladmin -u root password {}
  sudo -u root mysql -p{}
  mycli -p {} db
  xtrabackup --backup -p{}
  mongosh -u admin -p {} db
  mongodump -p{}
  redis-cli -h db -a {} ping
  redis-cli -h db -a{}
  redis-cli AUTH {}
  redis-cli CONFIG SET requirepass {}
  redis-server --port 0 --requirepass {}
  sshpass -p {} ssh -p 22 host
  sshpass -p{} ssh host
  ldapsearch -x -D cn=x -w {} -b dc=x
  ldapmodify -w{} -f x.ldif
  ldappasswd -s {} -w {} cn=x
  slappasswd -s {}
  kadmin -p a/b -w {} -q x
  zip -P {} a.zip b
  zip -rP {} a.zip b
  unzip -oP {} a.zip
  7z a -p{} x.7z dir
  7za x -p{} x.7z
  7zz a -p{} x.7z dir
  rar a -hp{} x.rar dir
  unrar x -p{} x.rar
  sqlcmd -S h -U sa -P {} -Q x
  bcp t out f -U sa -P{}
  cqlsh -u u -p {} host
  beeline -u jdbc:hive2://h -n u -p {}
  db2 connect to x user u using {}
  openssl enc -aes-256-cbc -k {} -in x
  openssl enc -aes-256-cbc -pass pass:{} -in x
  openssl rsa -in k.pem -passin pass:{}
  openssl dgst -sha256 -hmac {} file
  openssl passwd -6 {}
  openssl passwd -1 -salt ab {}
  docker login -u bob -p {} registry
  podman login -p {} r
  helm registry login -u u -p {} r
  az login --service-principal -u u -p {}
  oc login -u u -p {}
  xfreerdp /u:bob /p:{} /v:host
  xfreerdp3 /gp:{} /v:host
  rdesktop -u u -p {} host
  ipmitool -I lanplus -H h -U u -P {} power status
  snmpwalk -v3 -u u -A {} -X {} host
  snmpget -v2c -c {} host sysDescr
  mosquitto_pub -u u -P {} -t a -m b
  mosquitto_sub --pw {} -t a
  mosquitto_passwd -b file u {}
  rabbitmqctl add_user u {}
  rabbitmqctl change_password u {}
  rabbitmqadmin -u u -p {} list queues
  ejabberdctl register u host {}
  htpasswd -b file u {}
  htpasswd -nbB u {}
  htpasswd -bc file u {}
  htpasswd -nb u {}
  useradd -m -p {} bob
  usermod -p {} bob
  mkpasswd -m sha-512 {}
  doveadm pw -s X -p {}
  doveadm auth test u {}
  radtest u {} host 0 testing
  wpa_passphrase ssid {}
  nmcli dev wifi connect ssid password {}
  nmcli con modify x wifi-sec.psk {}
  nmcli con modify x 802-11-wireless-security.psk {}
  iwconfig wlan0 key {}
  veracrypt -t -p {} x /mnt
  pkcs11-tool --login --pin {} -O
  yubico-piv-tool -a verify -P {}
  evil-winrm -i h -u u -p {}
  rclone obscure {}
  rclone config create x sftp host h pass {}
  rclone copy a b --sftp-pass {}
  swaks -t x -au u -ap {}
  erl -name x -setcookie {} -s y
  iex --cookie {} -S mix
  vault login {}
  vault kv put secret/x foo={}
  vault operator unseal {}
  vault login -method=userpass username=u password={}
  aws ssm put-parameter --name n --value {} --type SecureString
  aws secretsmanager create-secret --name n --secret-string {}
  az keyvault secret set --vault-name v --name n --value {}
  gh secret set NAME --body {}
  gh secret set NAME -b {}
  fly secrets set foo={}
  dotnet user-secrets set K:V {}
  pulumi config set --secret dbKey {}
  bw unlock {}
  ngrok config add-authtoken {}
  cargo login {}
  twine upload -u u -p {} dist/x
  nuget push x.nupkg -ApiKey {}
  virsh secret-set-value uuid {}
  squidclient -w {} mgr:info
  aws configure set aws_secret_access_key {}
  aws configure set aws_session_token {} --profile x
  aws configure set profile.x.aws_secret_access_key {}
  aws --profile p configure set aws_secret_access_key {}
  npm config set //registry.example/:_authToken {}
  npm set //registry.example/:_authToken {}
  npm config set _auth {}
  yarn config set npmAuthToken {}
  pnpm config set //r/:_authToken {}
  pip config set global.token {}
  poetry config pypi-token.pypi {}
  composer config --global github-oauth.token {}
  git config --global github.token {}
  git config user.password {}
  gcloud config set auth/access_token {}
  kubectl config set users.bob.token {}
  gsettings set org.x password {}
  consul kv put app/db/password {}
  etcdctl put /app/password {}
  crudini --set f section password {}
  prog PASSWORD:{}
  prog password:{} x
  prog db_password:{} x
  prog api_key:{} client_secret:{}
  prog API_TOKEN:{}
  prog --opt:x secret:{}
  prog /password:{}
  http POST x password:={}
  `),
];

/** The secret is a word of letters and digits. */
export const WORDS: readonly string[] = lines(`
  curl -u u:{} https://x
  curl -fsSLu u:{} https://x
  curl --user=u:{} x
  curl --proxy-user u:{} x
  consul members -http-auth={}
  curl -u user.name:{} https://x
  curl -fsSLu user.name:{} https://x
  curl --user=user.name:{} x
  curl --proxy-user user.name:{} x
  consul members -http-auth={}
  curl -u DOM\\bob:{} https://x
  curl -fsSLu DOM\\bob:{} https://x
  curl --user=DOM\\bob:{} x
  curl --proxy-user DOM\\bob:{} x
  consul members -http-auth={}
  curl --oauth2-bearer {} https://x
  curl -E cert.pem:{} https://x
  etcdctl --user root:{} get x
  etcdctl --user=root:{} get x
  etcdctl user add root:{}
  smbclient //h/s -U u%{}
  smbclient -Uu%{} //h/s
  smbclient --user=u%{} //h/s
  rpcclient -U DOM/u%{} h
  net rpc user -U u%{} -S h
  winexe -U u%{} //h cmd
  sqlplus u/{}@db
  sqlplus -s u/{}@db @x.sql
  sqlplus -L u/{}
  sqlldr userid=u/{}@db control=x.ctl
  rman target u/{}@db
  expdp u/{} directory=d
  mysqlsh u:{}@host
  mysqlsh --uri u:{}@host
  lftp -u u,{} host
  http -a u:{} x.example
  transmission-remote h -n u:{}
  dig -y name:{} x
  check_http -H h -a u:{}
  curl https://u:{}@example.org/x
  git clone https://u:{}@example.org/r.git
  psql postgres://u:{}@db:5432/x?sslmode=off
  mongosh mongodb+srv://u:{}@h/x
  redis-cli -u redis://:{}@h:6379
  pip install --index-url https://u:{}@h/simple p
  prog amqp://u:{}@h:5672/v
  prog --dsn=u:{}@tcp(127.0.0.1:3306)/x
  wget https://x/?token={}&y=1
  wget https://x/?y=1&access_token={}
  wget https://x/?api_key={}#frag
  wget https://x/?sv=1&sig={}
  azcopy copy a https://x.blob/c?sp=r&sig={}&se=2
  wget https://b/x?X-Amz-Credential={}&X-Amz-Signature={}
  wget https://b/x?X-Goog-Signature={}&a=1
  wget https://b/x?AWSAccessKeyId=A&Signature={}&Expires=1
  wget https://b/x?X-Amz-Security-Token={}&a=1
  curl -H X-Api-Key:{} x
  curl -H X-Vault-Token:~{} x
  curl -H Authorization:~Bearer~{} x
  curl -H Authorization:~Basic~{} x
  curl --header=PRIVATE-TOKEN:~{} x
  http x Authorization:Bearer~{}
  git -c http.extraHeader=Authorization:~Basic~{} fetch
`);

/** Command texts, as for sh -c. The secret is a word of letters and digits. */
export const COMMAND_TEXTS: readonly string[] = lines(`
  mysql -uroot -p{} db; ssh -p 22 h
  cd /x && curl -su u:{} https://x | jq .
  true; redis-cli -a {} ping > f
  export API_KEY={}; run --token {} now
  x | sshpass -p {} ssh -p 22 h
  echo {} | docker login -u u --password-stdin r
  echo root:x | true; echo {} | chpasswd
  printf %s {} | sudo -S ls
  true; rabbitmqctl add_user u {} && x
  aws configure set aws_secret_access_key {} && x
  psql -c "ALTER USER bob WITH PASSWORD '{}'"
  mysql -e "CREATE USER b IDENTIFIED BY '{}'"
  docker exec db sh -c "mysql -p{} x"
  (htpasswd -nb u {}) > f
  true; TOKEN={} run -p 80
  x=1 PGPASSWORD={} psql -h db
  smbclient -U u%{} //h/s -c ls
  curl "https://x/?token={}&y=1" -o f
  curl -d '{"user":"u","password":"{}","n":1}' x
  curl -d "{\\"token\\":\\"{}\\"}" x
  curl -H 'Authorization: Bearer {}' -H "X-Api-Key: {}" x
  keytool -genkey -storepass {} -keypass {} -alias a
  setenv PASSWORD {}
  kubectl create secret generic x --from-literal=a={} -n y
  nmcli dev wifi connect s password {} ifname w
`);
