/**
 * More command lines with a secret, {}, of the programs that have their own ways to take it. Words are split at spaces;
 * "~" stands for a space within a word. The secret is a word of letters and digits.
 */
const lines = (text: string) => text.trim().split(/\s*\n\s*|\s+\|\|\|\s+/);

export const PROGRAM_LINES: readonly string[] = lines(`
  redis-server --requirepass {} --masterauth {}  |||  redis-server /etc/redis.conf --requirepass {}
  valkey-server --requirepass {}  |||  redis-cli -u redis://u:{}@h:6379/0  |||  redis-cli --pass {} ping
  redis-cli --user u --pass {}  |||  redis-cli --askpass -a {}
  keytool -importkeystore -srcstorepass {} -deststorepass {} -srckeypass {}
  keytool -genkeypair -keypass:{} -alias a  |||  jarsigner -storepass {} -keypass {} a.jar b
  apksigner sign --ks k --ks-pass pass:{} --key-pass pass:{} a.apk  |||  consul acl token read -token={}
  consul kv put -token {} a b  |||  nomad job run -token {} x  |||  vault write auth/userpass/login/bob password={}
  vault login -method=ldap username=u password={}  |||  vault token renew {}  |||  curl --oauth2-bearer {} x
  curl -U u:{} x  |||  curl --user u:{} -o f x  |||  curl -sSu u:{} x  |||  curl -XPOST -u u:{} x
  curl --basic --user u:{} x  |||  curl --pass {} --cert c x  |||  curl --proxy http://u:{}@p:80 x
  curl -x u:{}@p:80 x  |||  curl --socks5 u:{}@p:80 x  |||  curl -d password={} x  |||  curl -d user=a&password={} x
  curl --data-urlencode password={} x  |||  curl -F token={} x  |||  curl --form api_key={} x
  curl -H X-Auth-Token:{} x  |||  curl -HAuthorization:~Basic~{} x  |||  curl --header Api-Key:~{} x
  curl -H apikey:~{} x  |||  curl -H DD-API-KEY:~{} x  |||  curl -H Ocp-Apim-Subscription-Key:~{} x
  curl -H X-Shopify-Access-Token:~{} x  |||  curl --aws-sigv4 aws:amz --user AKID:{} x
  aws configure set default.aws_secret_access_key {}  |||  aws configure set aws_session_token {}
  aws --secret-key {} s3 ls  |||  mc alias set m https://h AKID {}  |||  mc config host add m https://h AKID {}
  npm config set //registry.example.org/:_authToken {}  |||  npm config set //registry.example.org/:_authToken={}
  npm config set //registry.example.org/:_password {}  |||  npm set _authToken {}  |||  npm config set -g _auth {}
  yarn config set npmScopes.x.npmAuthToken {}  |||  git config --global credential.password {}
  git config --global --add user.password {}  |||  git config http.https://h/.extraheader AUTHORIZATION:~basic~{}
  git -c http.extraHeader=Authorization:~Bearer~{} clone x
  git -c http.https://github.com/.extraheader=AUTHORIZATION:~basic~{} fetch
  git clone https://x-access-token:{}@github.com/a/b  |||  git clone https://oauth2:{}@gitlab.com/a/b
  gcloud config set account_password {}  |||  gcloud auth activate-refresh-token u {}
  pip config set global.password {}  |||  poetry config http-basic.foo u {}  |||  composer config http-basic.h u {}
  composer config github-oauth.github.com {}  |||  bundle config set gems.example u:{}
  bundle config gems.example u:{}  |||  dotnet user-secrets set Db:Password {}  |||  heroku config:set DB_PASSWORD={}
  kubectl set env deploy/x DB_PASSWORD={}  |||  kubectl config set users.u.password {}
  kubectl create secret generic x --from-literal=k={}  |||  kubectl --token {} get pods
  kubectl --password={} get pods  |||  oc login --token={}  |||  oc login https://h -u u -p {}
  openshift --token {}  |||  etcdctl --user root:{} get /  |||  etcdctl --user=root:{} get /
  etcdctl --user root --password {} get  |||  etcdctl user add u:{}  |||  etcdctl put /db/password {}
  smbclient -U DOM\\u%{} //h/s  |||  smbclient -L h -Uu%{}  |||  smbclient //h/s --user=u%{}
  smbclient //h/s --password={}  |||  mount.cifs //h/s /m -o user=u,pass={}
  mount.cifs //h/s /m -o username=u,password={},uid=0  |||  7z a -p{} x.7z d  |||  7z a -tzip -p{} -mhe=on x.7z d
  7zr x -p{} x  |||  7z x x.7z -p{}  |||  rar a -p{} x.rar  |||  rar a -hp{} x.rar  |||  zip -P {} x y
  zip --password {} x y  |||  unzip -P {} x  |||  zip -er -P {} x y  |||  sqlplus -S u/{}@//h:1521/x  |||  sqlplus u/{}
  sqlplus u/{}@db~as~sysdba  |||  sqlplus sys/{}@db as sysdba  |||  sqlplus "u/{}@db"  |||  impdp u/{}@db dumpfile=x
  exp u/{} file=x.dmp  |||  sqlldr u/{}@db control=x  |||  rman target=u/{}@db
  rman target u/{}@db catalog c/{}@cat  |||  mysql -u root -p{}  |||  mysql --user=root --password={}
  mysql -uroot -P3306 -p{} -h h  |||  mysqldump -uroot -p{} --all-databases  |||  mysqladmin -u root -p{} password {}
  mysqlsh u:{}@h:3306  |||  mysqlsh --uri=u:{}@h  |||  mysqlsh mysql://u:{}@h
  mysql_config_editor set --password={}  |||  psql postgresql://u:{}@h/db  |||  psql host=h~password={}~user=u
  psql -c ALTER~USER~u~PASSWORD~'{}'  |||  psql -c ALTER~ROLE~u~WITH~ENCRYPTED~PASSWORD~'{}';
  psql -c CREATE~USER~u~WITH~PASSWORD~'{}'  |||  mysql -e CREATE~USER~'u'@'h'~IDENTIFIED~BY~'{}'
  mysql -e SET~PASSWORD~FOR~'u'@'h'~=~'{}'  |||  mysql -e ALTER~USER~u~IDENTIFIED~WITH~mysql_native_password~BY~'{}'
  mysql -e GRANT~ALL~ON~*.*~TO~u~IDENTIFIED~BY~"{}"  |||  clickhouse-client --password {}
  clickhouse-client --user u --password={}  |||  influx -username u -password {}
  mongo -u u -p {} --authenticationDatabase admin  |||  mongo --username u --password {}
  mongosh mongodb://u:{}@h/db?authSource=admin  |||  mongodump --uri=mongodb://u:{}@h  |||  ldapsearch -D cn=a -w {}
  ldapsearch -H ldaps://h -x -D cn=a -w{}  |||  ldapadd -x -w {} -D a -f x  |||  ldappasswd -x -D a -w {} -s {} u
  sshpass -p{} ssh h  |||  sshpass -p {} ssh h  |||  sshpass -P assword: -p {} ssh h  |||  plink -ssh -pw {} u@h
  pscp -pw {} a u@h:b  |||  openssl pkcs12 -export -passout pass:{} -in x
  openssl pkcs12 -in x -passin pass:{} -nodes  |||  openssl genrsa -aes256 -passout pass:{} 2048
  openssl enc -aes-256-cbc -k {}  |||  openssl enc -aes-256-cbc -K {} -iv 0  |||  gpg --passphrase {} -c f
  gpg --batch --yes --passphrase={} -d f  |||  gpg2 --pinentry-mode loopback --passphrase {} -s f
  docker login -u u -p {}  |||  docker login --username u --password {} r  |||  docker login --password={}
  docker login -p{}  |||  podman login -u u -p {} q  |||  crane auth login r -u u -p {}
  helm repo add x https://h --username u --password {}  |||  helm registry login r -u u -p {}  |||  az login -u u -p {}
  az login --service-principal -u u --password {} --tenant t  |||  az storage account x --account-key {}
  az storage blob upload --sas-token {}
  az storage x --connection-string DefaultEndpointsProtocol=https;AccountName=a;AccountKey={};EndpointSuffix=c
  gcloud sql users create u --password={}  |||  ansible all -e ansible_password={}
  ansible-playbook -e ansible_become_pass={} p.yml
  ansible-playbook --extra-vars {"ansible_become_password":"{}"} p  |||  rabbitmqctl -n r@h add_user u {}
  rabbitmqadmin --username=u --password={} list  |||  htpasswd -b f u {}  |||  htpasswd -cb f u {}
  htpasswd -bc f u {}  |||  htpasswd -bnBC 10 u {}  |||  net rpc info -U u%{}
  rclone config create r s3 secret_access_key {}  |||  rclone config create r s3 secret_access_key={}
  rclone lsd --sftp-pass {} :sftp:  |||  restic -r sftp:h --password {}  |||  borg create --passphrase {}
  snmpwalk -v3 -A {} -X {} h  |||  snmpget -v2c -c {} h o
  snmpwalk -v3 -l authPriv -u u -a SHA -A {} -x AES -X {} h  |||  ipmitool -U u -P {} chassis status
  ipmitool -H h -Uu -P{} sel  |||  xfreerdp /v:h /u:u /p:{}  |||  xfreerdp /password:{} /v:h  |||  xfreerdp -u u -p {} h
  rdesktop -u u -p{} h  |||  mosquitto_pub -h h -u u -P {} -t t -m m  |||  mosquitto_sub -h h -u u --pw {} -t t
  redis-cli -a {}  |||  nmcli dev wifi connect s password {}  |||  nmcli d w c s password {}
  nmcli con add type wifi ssid s wifi-sec.psk {}  |||  nmcli con mod x wifi-sec.psk {}
  nmcli con mod x 802-1x.password {}  |||  nmcli con mod x vpn.secrets password={}  |||  wpa_passphrase s {}
  iwctl --passphrase {} station w connect s  |||  iwctl --passphrase={} station
  cryptsetup luksFormat --key-file - x --passphrase {}  |||  veracrypt --password={} -m x  |||  veracrypt -p {} x y
  wget --password={} x  |||  wget --http-password {} x  |||  wget --ftp-password={} x  |||  wget --proxy-password={} x
  wget --header=Authorization:~Bearer~{} x  |||  wget https://u:{}@h/x  |||  wget https://h/x?sig={}
  wget https://h/x?a=1&X-Amz-Signature={}  |||  wget https://h/x?a=1&X-Goog-Signature={}&b=2
  wget https://h/x?Signature={}  |||  wget https://h/x?sv=1&sig={}&se=1  |||  wget https://h/x?signature={}
  wget https://h/x?hmac={}  |||  wget https://h/x?private_token={}  |||  wget https://h/x?auth={}
  wget https://h/x?pwd={}  |||  wget https://h/x?passwd={}  |||  wget https://h/x?api-key={}
  wget https://h/x?client_secret={}  |||  wget https://h/x#access_token={}
  azcopy copy https://a.blob.core.windows.net/c?sv=1&sig={} .  |||  prog password:{}  |||  prog Password:~{}
  prog SECRET:{}  |||  prog TOKEN:{}  |||  prog apikey:{}  |||  prog --opt=PASSWORD:{}  |||  prog user:u,password:{}
  prog a=b,secret:{}  |||  prog {'password':'{}'}  |||  prog --json={"token":"{}"}  |||  prog db.password={}
  prog --db.password~{}  |||  prog --DBPASS {}  |||  prog --DbPass={}  |||  prog --MYSQL_ROOT_PASSWORD={}
  prog --user-password {}  |||  prog --vnc-password {}  |||  prog --adminPassword {}  |||  prog -pass {}
  prog -passwd {}  |||  prog -userpass {}  |||  prog -dbpass {}  |||  prog -secretkey {}  |||  prog -authtoken {}
  prog -access-token {}  |||  prog -client_secret {}  |||  prog --xmpp-pass {}  |||  prog --smtppass {}
  prog --ftppass={}  |||  prog --sshpass {}  |||  prog --rootpw {}  |||  prog --dbpw={}  |||  prog --token-secret {}
  prog --tokensecret {}  |||  prog --secret_id {}  |||  prog --secret-id={}  |||  prog --webhook-secret {}
  prog --hmac-key {}  |||  prog --shared-secret {}  |||  prog --sharedsecret {}  |||  prog --private-key {}
  prog --ssh-password {}  |||  prog --cookie-secret {}  |||  prog --session-secret={}
  prog --encryption-passphrase {}  |||  prog --seed-phrase {}  |||  prog --admin-pass {}  |||  prog --bind-password {}
  prog --ldap-bind-pw {}  |||  prog --proxy-pass {}  |||  prog --pass-phrase {}  |||  prog --pass-word {}
  prog --pass_phrase={}  |||  java -Dpassword={} x  |||  java -Dhttp.proxyPassword={} x
  java -jar x --spring.datasource.password={}  |||  java -Dapi.token={} x  |||  mvn -Dsonar.login=u -Dsonar.password={}
  gradle -Ptoken={} x  |||  sonar-scanner -Dsonar.login=x -Dsonar.token={}  |||  env FOO=1 SECRET={} cmd
  env -i TOKEN={} cmd  |||  sudo PGPASSWORD={} psql  |||  hydra -l u -p {} ssh://h  |||  medusa -u u -p {} -h h
  crackmapexec smb h -u u -p {}  |||  impacket-psexec dom/u:{}@h  |||  secretsdump.py dom/u:{}@h
  psexec.py dom/u:{}@h  |||  winexe -U dom/u%{} //h cmd  |||  wmic -U u%{} //h q  |||  lftp -u u,{} h
  lftp -e open~-u~u,{}~h  |||  lftp sftp://u:{}@h  |||  ncftpput -u u -p {} h / f  |||  ftp ftp://u:{}@h/
  aria2c --http-passwd={} x  |||  aria2c --rpc-secret={}  |||  yt-dlp -u u -p {} x
  transmission-remote h:1 -n u:{} -l  |||  qemu-system-x86_64 -object secret,id=s0,data={}
  qemu-system-x86_64 -spice port=1,password={}  |||  qemu-img create -f qcow2 --object secret,id=s,data={} x
  virsh secret-set-value u {}  |||  virsh -c esx://u:{}@h  |||  govc about -u u:{}@h  |||  ovftool vi://u:{}@h/x
  x11vnc -passwd {}  |||  x11vnc -viewpasswd {}  |||  tightvncviewer -passwd {}  |||  erl -setcookie {}
  beam.smp -setcookie {}  |||  swaks --auth-user u --auth-password {}  |||  swaks -au u -ap {}
  sendemail -xu u -xp {}  |||  msmtp --user=u --password={}  |||  fetchmail --password {}
  twurl --consumer-secret {}  |||  tailscale up --authkey {}  |||  tailscale up --auth-key={}  |||  ngrok authtoken {}
  cloudflared tunnel run --token {}  |||  cloudflared service install {}  |||  doctl auth init -t {}
  doctl auth init --access-token {}  |||  linode-cli --token {}  |||  hcloud --token {}
  pulumi config set --secret k {}  |||  pulumi login --x --token {}  |||  terraform apply -var=db_password={}
  terraform init -backend-config=password={}  |||  packer build -var aws_secret_key={}  |||  vagrant login --token {}
  chef --secret {}  |||  knife bootstrap h -P {}  |||  knife ssh x -x u -P {}  |||  puppet --x_password {}
  salt --password={}  |||  salt-api --token {}  |||  pssh -h hosts --password {}  |||  expect -c set~password~{}
  sqlcmd -U sa -P {}  |||  sqlcmd -Usa -P{}  |||  bcp t out f -Usa -P{}  |||  isql -U u -P {}  |||  tsql -H h -U u -P {}
  freetds --password {}  |||  rndc -y k:{}  |||  named --x-secret {}  |||  radtest u {} h 0 s
  ntlm_auth --username=u --password={}  |||  wbinfo -a u%{}  |||  kadmin -p a -w {}
  kadmin.local -q addprinc~-pw~{}~u  |||  ipa user-add u --password {}  |||  ipa-client-install -p a -w {}
  realm join --one-time-password={}  |||  adcli join --stdin-password {} --one-time-password={}
  samba-tool user create u {}  |||  samba-tool user setpassword u --newpassword={}  |||  samba-tool domain join -U u%{}
  useradd -p {} u  |||  usermod --password {} u  |||  usermod -p {} u  |||  mkpasswd {}  |||  openssl passwd -1 {}
  grub-mkpasswd --password {}  |||  doveadm pw -p {}  |||  postmap --x_password={}  |||  squidclient -u u -w {}
  squidclient -U u -W {}  |||  check_http -a u:{} -H h  |||  check_mysql -u u -p {}  |||  check_snmp -C {} -H h
  check_nrpe --password {}  |||  zabbix_get --tls-psk {}  |||  grafana-cli admin reset-admin-password {}
  elasticsearch-users useradd u -p {}  |||  elasticdump --input=https://u:{}@h  |||  kibana --elasticsearch.password={}
  logstash --x.password {}  |||  solr -u u:{}  |||  zkCli.sh addauth digest u:{}  |||  cassandra --password {}
  cqlsh h -u u -p {}  |||  nodetool -u u -pw {} status  |||  couchbase-cli -u u -p {}  |||  cbq -u u -p {}
  arangosh --server.password {}  |||  cypher-shell -u u -p {}  |||  neo4j-admin set-initial-password {}
  neo4j-admin dbms set-initial-password {}  |||  dgraph --x --password {}  |||  snowsql --password {}
  isql-fb -u u -p {}  |||  gbak -user u -pas {}  |||  gbak -user u -password {}  |||  asadmin --password {}
  wsadmin.sh -user u -password {}  |||  jboss-cli.sh --user=u --password={}  |||  add-user.sh -u u -p {}
  add-user.sh u {}  |||  wp user create u e --user_pass={}  |||  wp core install --admin_password={}
  wp config create --dbpass={}  |||  drush site-install --account-pass={}  |||  drush si --db-url=mysql://u:{}@h/d
  occ user:add --password {}  |||  artisan x --password={}  |||  rails runner x --secret {}
  cargo publish --token {}  |||  twine upload -u u -p {} x  |||  nuget push x -ApiKey {}  |||  nuget setapikey {}
  dotnet nuget push x -k {}  |||  dotnet nuget push x --api-key {}  |||  choco push x --api-key {}  |||  pypi --token {}
  flit publish --x --password {}  |||  bw login u {}  |||  op signin --password {}  |||  lpass --password {}
  gh secret set X -b {}  |||  gh secret set X --body {}  |||  glab auth login --token {}  |||  glab auth login -t {}
  hub --token {}  |||  travis encrypt TOKEN={}  |||  circleci --token {}  |||  buildkite-agent start --token {}
  gitlab-runner register --registration-token {}  |||  gitlab-runner register -r {}  |||  act -s GITHUB_TOKEN={}
  drone --token {}  |||  sentry-cli --auth-token {}  |||  newrelic --license-key {}  |||  datadog --api-key {}
  stripe --api-key {}  |||  stripe login --api-key {}  |||  twilio --auth-token {}  |||  heroku auth:token --token {}
  slackcat --token {}  |||  telegram-send --token {}  |||  ffmpeg -i rtsp://u:{}@h/x out  |||  vlc rtsp://u:{}@h
  mpv --http-header-fields=Authorization:~Bearer~{} x  |||  streamlink --http-header Authorization=Bearer~{} x
  openvpn --auth-token {}  |||  openconnect --password {}  |||  vpnc --password {}  |||  strongswan --secret {}
  sslvpn --cookie-secret {}  |||  davfs --password {}  |||  sshfs -o password={} h m  |||  p4 -P {} sync
  svn co --password {} x  |||  svn co --username u --password={} x  |||  hg --config auth.x.password={} pull
  cvs -d :pserver:u:{}@h:/r login  |||  bzr --password {}  |||  jq --arg password {} .x  |||  jq --arg token {} .
  docker run --env MYSQL_ROOT_PASSWORD={} m  |||  docker run -eTOKEN={} m  |||  docker service create -e SECRET_KEY={} x
  docker build --build-arg TOKEN={} .  |||  docker swarm join --token {} h  |||  kubeadm join --token {} h
  kubeadm join h --token {} --discovery-token-ca-cert-hash sha256:aa  |||  k3s agent --token {}
  minikube --x-token {}  |||  systemd-run --setenv=TOKEN={} x  |||  systemctl set-environment PASSWORD={}
  secret-tool --password {}  |||  ykman piv x -P {}  |||  pkcs11-tool --pin {}
  softhsm2-util --init-token --so-pin {} --pin {}  |||  tpm2_x --auth {}  |||  hciconfig --password {}
  asterisk --secret {}  |||  linphonec --password {}  |||  cadaver --password {}  |||  unison --password {}
  screen --password {}  |||  passgen --master-password {}  |||  bash -c aws~configure~set~aws_secret_access_key~{}
  su - u -c mysql~-p{}  |||  watch mysqladmin~-p{}~status  |||  docker exec db mysql -p{}
  docker exec -it db mysql -u root -p{}  |||  docker exec db sh -c mysql~-p{}  |||  kubectl exec p -- mysql -p{}
  kubectl exec -it p -- redis-cli -a {}  |||  kubectl exec p -- sh -c redis-cli~-a~{}
  sudo -u postgres psql -c ALTER~USER~x~PASSWORD~'{}';  |||  xargs -n1 curl -u u:{}  |||  find . -exec curl -u u:{} x ;
  parallel curl~-u~u:{} ::: a  |||  nice -n 10 mysqldump -p{} d  |||  strace -f mysql -p{}
  /usr/local/mysql/bin/mysql -p{}  |||  ./vault login {}  |||  prog --db_passwd {}  |||  prog --DATABASE_PASSWORD {}
  prog --httpPassword {}  |||  prog --http.password={}  |||  prog --x-token {}  |||  prog --gitlab-token={}
  prog --tokenValue {}  |||  prog --secretValue={}  |||  prog --secret.value {}  |||  prog --token.value={}
  prog --mypass={}  |||  prog --usrpass {}  |||  prog --loginpass {}  |||  prog --keystorepass {}
  prog --truststorepass={}  |||  prog --ks-pass {}  |||  prog --certpass {}  |||  prog --pfx-password {}
  prog --p12pass {}  |||  prog --sudo-pass {}  |||  prog --become-password {}  |||  prog --vault-password {}
  prog --vault-token {}  |||  prog --redis-auth {}  |||  prog --wsauth {}  |||  prog -mqttpass {}
  prog -rpcpassword={}  |||  bitcoin-cli -rpcuser=u -rpcpassword={} getinfo  |||  geth --password {}
  stunnel --psk {}  |||  prog -DPASSWORD={}  |||  prog /p:PASSWORD={}  |||  prog user=x;password={};db=y
  prog Server=h;Database=d;User~Id=u;Password={};  |||  prog jdbc:mysql://h/d?user=u&password={}
  prog jdbc:postgresql://h/d?password={}&user=u  |||  prog jdbc:sqlserver://h;user=u;password={};x=1
  prog jdbc:oracle:thin:u/{}@//h:1521/x  |||  prog Endpoint=sb://h/;SharedAccessKeyName=k;SharedAccessKey={}
  prog mongodb://u:{}@h1,h2/db  |||  prog amqps://u:{}@h/v  |||  prog ldap://u:{}@h  |||  prog smb://dom;u:{}@h/s
  prog ssh://u:{}@h  |||  prog socks5://u:{}@h:1  |||  prog https://:{}@h  |||  prog https://h/cb#id_token={}&x=1
  prog https://h/?x=1&apikey={}  |||  prog https://h/?key=1&secret={}  |||  prog https://h/?access-token={}
  prog https://h/?authToken={}  |||  prog https://h/?refresh_token={}  |||  prog https://h/?sig={}
  prog https://h/?Policy=x&Signature={}&Key-Pair-Id=K  |||  prog https://h/?x-oss-signature={}
  prog https://h/?x-amz-security-token={}  |||  prog https://h/?X-Amz-Signature={}
  prog https://h/?OSSAccessKeyId=x&Signature={}  |||  prog https://h/?sharedsecret={}  |||  curl "https://h/?sig={}"
  consul kv get -token={} x  |||  consul agent -encrypt-key {}  |||  sudo sshpass -p {} rsync a b
  sudo -E env TOKEN={} x  |||  env TOKEN={} PASSWORD={} x  |||  docker run --rm -e X=1 -e DB_PASS={} i
  docker-compose run -e TOKEN={} x  |||  podman run --env PASSWORD={} i  |||  kubectl run x --image=i --env=PASSWORD={}
  kubectl run x --env TOKEN={} --image=i  |||  helm upgrade x y --set-string db.password={}
  helm upgrade x y --set db.user=u,db.password={}  |||  helm upgrade x y --set auth.rootPassword={}
  mariadb -u root -p{} -e x  |||  mariadb-dump -p{} d  |||  /opt/mysql/bin/mysql -p{}  |||  mysql5.7 --password={}
  mysqlslap -p{}  |||  mysqlbinlog -p{} f  |||  psql user=u~password={}~dbname=x
  pg_dump --dbname=postgresql://u:{}@h/d  |||  pgbench postgres://u:{}@h/d  |||  createdb --password={}
  mongosh -u u -p{}  |||  mongoimport -u u -p {} --db d  |||  ldapsearch -x -D cn=admin -w {} -H ldap://h
  ldapmodify -D u -w{}  |||  ldapwhoami -w {}  |||  sshpass -d 3 -p {} ssh h
  gpg --symmetric --batch --passphrase {} f  |||  gpg --passphrase-repeat 0 --passphrase {} f
  openssl req -passout pass:{} -new  |||  openssl rsa -aes256 -passout=pass:{}  |||  openssl dgst -hmac {} f
  openssl mac -macopt key:{} HMAC  |||  openssl dgst -mac HMAC -macopt hexkey:{} f  |||  docker login --password~{} x
  nerdctl login -p {} r  |||  az acr login --password {}  |||  az sql server create --admin-password {}
  az vm create --admin-password={}  |||  az ad sp credential reset --password {}
  gcloud sql users set-password u --password {}  |||  gcloud beta x --token={}
  gcloud auth login --cred-file f --token {}  |||  aws rds create-db-instance --master-user-password {}
  aws cognito-idp initiate-auth --auth-parameters USERNAME=u,PASSWORD={}
  aws cognito-idp admin-set-user-password --password {}
  aws secretsmanager put-secret-value --secret-id x --secret-string {}  |||  aws ssm put-parameter --name x --value {}
  vault kv put secret/x password={}  |||  vault write secret/x token={}  |||  vault unwrap {}  |||  bao login {}
  git -c http.extraHeader=PRIVATE-TOKEN:~{} clone x  |||  git -c http.extraheader=Authorization:~Bearer~{} fetch
  git remote set-url origin https://u:{}@h/r  |||  wget --user u --password {} x  |||  wget --user=u --password={} x
  wget --http-user=u --http-passwd={} x  |||  ansible-playbook -e '{"db_password":"{}"}' x
  ansible localhost -m user -a name=u~password={}  |||  ansible all -m shell -a mysql~-p{}
  ansible-vault encrypt_string --vault-password {}  |||  rabbitmqctl --node x add_user u {}
  rabbitmqctl authenticate_user u {}  |||  htpasswd -b -c f u {}  |||  htpasswd -nbm u {}
  rclone config create x webdav url=h user=u pass={}  |||  rclone copy a b --webdav-pass={}
  rclone mount --crypt-password {} a b  |||  restic --password {} snapshots  |||  borgmatic --encryption_passphrase {}
  duplicity --encrypt-passphrase {} x  |||  snmpget -v 3 -a SHA -A {} -u u h o  |||  snmpset -v2c -c{} h o i 1
  ipmitool -I lan -H h -U a -P {} mc info  |||  ipmitool -I lanplus -P{} -H h sol
  xfreerdp /u:a /p:{} /cert-ignore /v:h  |||  xfreerdp /v:h /gt:x /gp:{}  |||  mosquitto_pub -h h -t t -m m -u u --pw={}
  mosquitto_passwd -b f u {}  |||  redis-cli -h h -p 1 -a {} --no-auth-warning  |||  redis-cli --user u -a {}
  nmcli c modify x wifi-sec.key-mgmt wpa-psk wifi-sec.psk {}
  nmcli connection modify x 802-11-wireless-security.wep-key0 {}  |||  wpa_passphrase myssid {}
  net ads join -U a%{}  |||  smbget -U u%{} smb://h/s  |||  smbmap -u u -p {} -H h  |||  smbclient //h/s -Uu%{} -c ls
  smbclient -A f -U u%{} //h/s  |||  nxc smb h -u u -p {}  |||  chef-client --token {}
  screen -dmS x sshpass -p {} ssh h  |||  timeout 5 sshpass -p {} ssh h  |||  nohup redis-server --requirepass {}
  tmux new -d redis-cli~-a~{}  |||  bash -c export~TOKEN={}  |||  bash -lc source~x~&&~mysql~-p{}
  bash -ec PGPASSWORD={}~psql  |||  su bob -c sshpass~-p~{}~ssh~h  |||  runuser -u x -- mysql -p{}
  chroot /x mysql -p{}  |||  flock /x mysql -p{}  |||  systemd-run mysql -p{}  |||  at -c TOKEN={}
  crontab TOKEN={}  |||  python3 x.py --password {}  |||  python3 -c d={'token':~'{}'}
  node -e const~password~=~"{}"  |||  perl -e $password="{}"  |||  php -r $password='{}';
  php -r ['password'~=>~'{}']  |||  java -jar x.jar --password {}  |||  java -cp a.jar:b.jar X -password {}
  java -Dtoken={} -cp a X  |||  powershell -Password {}  |||  pwsh -c $password~=~"{}"
  ssh-keygen -t ed25519 -N {} -f k  |||  ssh-keygen -N{} -f k  |||  ssh-keygen -p -P {} -N {} -f k  |||  ssh-keygen -y -P {} -f k
  ssh-keygen -qN {} -f k  |||  pk12util -o f -n c -W {} -K {}  |||  ab -A u:{} http://h/  |||  ab -Au:{} http://h/
  ab -n 10 -c 2 -P u:{} http://h/  |||  ab -kA u:{} http://h/  |||  sudo ab -A u:{} http://h/  |||  hey -a u:{} http://h/
  oha -n 9 -a u:{} http://h/  |||  isql DSN user {}  |||  isql -v DSN user {}  |||  isql DSN user {} -b  |||  iusql DSN user {} -v
  isql -U u -P {} -S srv -i f.sql  |||  fisql -U u -P {}  |||  bsqldb -U u -P {} -S s  |||  freebcp d..t out f -U u -P {}
`);

/** Command texts, as for sh -c. */
export const PROGRAM_TEXTS: readonly string[] = lines(`
  echo {} | passwd --stdin u  |||  echo {} | sudo -S whoami  |||  echo -n {} | docker login -u u --password-stdin
  echo {} | cryptsetup luksOpen /dev/x y -  |||  printf '%s\\n' {} | gpg --passphrase-fd 0 -d x  |||  echo {} | kinit u
  echo {}|gh auth login --with-token  |||  export DB_PASS={} && run  |||  cd x; DB_PASS={} run  |||  curl -u "u:{}" x
  "mysql" -p{}  |||  /usr/bin/mysql -p{}  |||  cd /x;mysql -p{} d<f  |||  x=$(curl -su u:{} h)
  x=\`curl -su u:{} h\`  |||  if true; then curl -u u:{} x; fi  |||  time curl -u u:{} x
  exec redis-server --requirepass {}  |||  exec mysqld --x & mysql -p{}
  while ! mysqladmin ping -p{}; do sleep 1; done  |||  timeout 5 mysql -h h -p{}
  for i in 1 2; do sshpass -p {} ssh h; done  |||  sqlplus u/{}@db  |||  echo 'password={}' >> f
  echo "password: {}" >> f  |||  curl "https://h/x?a=1&sig={}&b=2" -o f  |||  curl 'https://u:{}@h/x'
  curl https://u:{}@h/x | sh  |||  wget --header="Authorization: Bearer {}" x  |||  wget --header 'X-Api-Key: {}' x
  curl -H "Authorization: Bearer {}" x  |||  curl --oauth2-bearer {} x  |||  redis-server --requirepass {} &
  keytool -storepass {} -list  |||  7z a -p{} x y  |||  7z a "-p{}" x y  |||  etcdctl --user root:{} get /
  etcdctl --user="root:{}" get /  |||  sqlplus -s u/{}@db <<EOF  |||  sqlplus -s "u/{}@db" @x
  npm config set //r/:_authToken {}  |||  echo "//r/:_authToken={}" > .npmrc  |||  echo "password = {}" >> f
  PASSWORD:{}  |||  prog PASSWORD:{} x  |||  wpa_passphrase myssid {} > f  |||  echo {} | sudo -S -k id
  echo {} | sudo -u x -S id  |||  echo {} | cryptsetup open --type luks /dev/x y
  echo -n {} | cryptsetup luksFormat /dev/x -  |||  echo {} | passwd --stdin bob
  echo {} | gpg --batch --passphrase-fd 0 f  |||  echo $X; echo {} | docker login -u u --password-stdin
  docker login -u u -p {} && docker push x  |||  net rpc join -U a%{}
  ssh-keygen -t rsa -N {} -f k && ssh-add k  |||  ab -A u:{} http://h/ | tail  |||  echo 'select 1' | isql DSN user {}
`);
