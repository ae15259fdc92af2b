/** Command lines without a secret: nothing is masked. Words are split at spaces; "~" stands for a space within a word. */
export const ORDINARY: readonly string[] = `
  kubectl get secret my-token
  kubectl get secret x -o yaml
  kubectl get secrets -n x
  kubectl describe secret token-abc
  kubectl delete secret tls-secret
  kubectl auth can-i get pods
  kubectl create token default
  kubectl create serviceaccount token
  kubectl get pods -l app=auth -o wide
  kubectl logs deploy/auth --tail=10
  kubectl rollout restart deployment/token-service
  kubectl set image deploy/auth c=repo/auth:1.2.3
  kubectl --kubeconfig /root/.kube/config --client-key /etc/k/client.key get nodes
  grep password FILE
  grep -rn password src
  grep -i secret /var/log/syslog
  grep -E token|secret file
  rg --files-with-matches authToken src
  pass show secret/x
  pass insert secret/y
  pass generate token/z 20
  gopass ls secret
  ls /etc/passwd
  cat /etc/passwd /etc/shadow
  passwd bob
  chage -l bob
  getent passwd bob
  git commit --author bob
  git commit --author=bob -m x
  git commit -m auth:~fix~token~refresh
  git commit -m fix:~password~reset~form
  git commit -m password:~use~argon2
  git log --author token
  git checkout feature/auth-token
  git push origin token:token
  git config --get user.token
  git config --list
  git -c credential.helper=store fetch
  git diff src/auth/token.ts src/secret.ts
  git add password.c pass.txt
  git stash push -m token
  prog --author X
  prog --authority X
  prog --authority=X
  prog --bypass X
  prog --bypass=X
  prog --compass X
  prog --passive X
  prog --pass-through X
  prog --pass-through=X
  prog --token-ttl 3
  prog --token-ttl=3
  prog --auth-method plain
  prog --auth-method=plain
  prog --auth-type basic
  prog --auth plain
  prog --auth=none
  prog --proxy-auth ntlm
  prog --password-file /x --token-file=/y PASSWORD_FILE=/z
  prog --no-password db
  prog --ask-pass site.yml
  prog --ask-become-pass site.yml
  prog --prompt-password x
  prog --use-auth x
  prog --enable-auth x
  prog --require-token x
  prog --disable-password x
  prog --password-stdin x
  prog --passwd-on-stdin x
  prog --secret-name x --key-file y
  prog --max-tokens 5 --num_tokens=100 --tokenizer t --tokens 5
  prog --low-pass 200 --high-pass 20 --first-pass x --two-pass y
  prog --pass 2
  prog --keymap de --keyboard us --hotkey x --monkey y --public-key k
  prog --ssh-key /root/.ssh/id_ed25519 --private-key /etc/ssl/private/x.pem
  prog --authorized-keys f --author-name x --authenticate y
  prog --passengers 4 --passport x --passage y
  prog --secretary x --tokenize y
  prog --password --verbose
  opt -passes=mem2reg,instcombine -S x.ll
  opt -passes=default<O2> x.ll
  opt --print-passes
  clang -Xclang -fdebug-pass-manager -c x.c
  ffmpeg -i in.mp4 -pass 1 -passlogfile log out.mp4
  x264 --pass 2 --bitrate 1000 in
  vpxenc --passes=2 --pass=1 x
  sox in out lowpass 200
  ansible-playbook --ask-vault-pass site.yml
  ansible-vault --vault-password-file f view x
  openvpn --config x --auth-user-pass /etc/openvpn/cred --auth SHA512 --askpass /x
  openvpn --auth-user-pass cred
  openconnect --passwd-on-stdin --authgroup g host
  mongod --auth --port 27017
  Xorg :0 -auth /run/lightdm/root/:0 -nolisten tcp
  x11vnc -auth guess
  docker ps -a
  docker run --name redis -p 6379:6379 -d redis:7
  docker run --name mongo -p 27017:27017 mongo
  docker run --name mysql -p 3306:3306 mysql:8
  docker run --name auth -p 8080:80 auth:latest
  docker run -v token:/run/token -u 1000:1000 repo/token:1.2
  docker pull auth-token:v1
  docker pull repo/secret@sha256:0123456789abcdef
  docker build --secret id=npmrc,src=/root/.npmrc -t token:dev .
  docker service create --secret db_password nginx
  docker secret ls
  docker secret create token f
  docker login -u bob --password-stdin registry
  docker compose -f auth.yml up -d auth token
  podman run --secret x,type=env i
  aws secretsmanager get-secret-value --secret-id prod/db
  aws configure get aws_access_key_id
  aws configure list
  aws s3 cp s3://bucket/token.json .
  npm config get registry
  npm config set registry https://r.example/
  npm run auth:build
  npm run token:refresh test:auth
  npm install jsonwebtoken passport-jwt keytar @scope/auth
  npm install --save-dev @types/passport
  yarn add oauth password-validator
  pip install sk-learn passlib authlib python-jose pyjwt
  make auth token
  rake secret
  bazel build //auth/token:lib //secret:all
  cmake -DWITH_AUTH=ON -DENABLE_TOKEN=OFF -DUSE_PASSWORD=1 ..
  cmake -DCMAKE_BUILD_TYPE=Release -S . -B build
  cmake --build build --target auth_test token_test
  ctest -R password -j4
  gcc -DAUTH=1 -DTOKEN -DKEY_LEN=16 -c auth.c -o auth.o
  gcc -Isecurity/keys -Iauth/token -c security/keys/keyring.c
  cc -I./include -fmacro-prefix-map=./= security/keys/keyring.c
  ld -r -o security/keys/built-in.a security/keys/request_key_auth.o
  ./tools/objtool/objtool --hacks=jump_label net/sunrpc/auth_gss/auth_gss.o
  ar cDPrST security/keys/built-in.a security/keys/gc.o security/keys/key.o
  rustc --crate-name auth --edition=2021 src/token.rs --cfg feature="password"
  go build ./internal/auth/... ./cmd/token
  go test -run TestPassword ./auth
  java -cp lib/jjwt-api.jar:lib/auth-token.jar:lib/secret:lib/token.jar com.example.Auth
  java -jar token-service.jar --server.port=8080
  javac -d out src/com/x/auth/Token.java src/com/x/Password.java
  node --inspect dist/auth/main.js
  node --max-old-space-size=4096 node_modules/.bin/tsc -p .
  python3 -m pytest tests/test_auth.py -k password
  python3 -m http.server 8080
  perl -e print
  apt-get install -y passwd libpam-pwquality keyutils gnome-keyring mysql-client redis-tools curl
  apt-key list
  apt-get -o Acquire::http::Proxy=http://p:3128 update
  dpkg --configure -a
  dpkg -l passwd
  systemctl restart sssd auth.service token@1.service
  systemctl show -p MainPID --value auth.service
  systemd-run --unit=token -p MemoryMax=1G run
  systemd-tty-ask-password-agent --watch
  systemd-cryptsetup attach x /dev/y
  journalctl -u auth -t token --since today
  loginctl show-session 3 -p Type
  ssh -p 22 -i /root/.ssh/id_rsa bob@example.org
  ssh -o PasswordAuthentication=no -o PreferredAuthentications=publickey -o NumberOfPasswordPrompts=0 h
  ssh -o PubkeyAuthentication=yes -L 8080:auth:80 h
  ssh-keygen -t ed25519 -f key
  ssh-add -l
  sshd -D -o AuthorizedKeysFile=/x -o AuthorizedKeysCommand=none
  sshpass -f /x ssh -p 22 h
  sshpass -e ssh -p 22 h
  scp token:/etc/passwd .
  scp secret.txt auth:token
  rsync -a secret/ backup:secret
  rsync --password-file=/x a b
  chown auth:auth /srv/token
  install -o token -g token -m 600 a b
  find / -name *.key -o -name token* -o -path */secret/*
  find /var/lib/mysql -print
  tar czf auth.tgz --exclude=token auth
  cp -p secret.txt token.txt
  mv password.txt pass.old
  mkdir -p auth/token
  rm -f secret.key
  vim auth.py
  less pass.log
  diff auth.a auth.b
  sed -n s/password/x/ f
  awk /token/ f
  jq .token f
  curl -sS https://example.org/auth/token -o f
  curl -b cookies.txt -c cookies.txt https://example.org
  curl -u bob https://example.org:8080/x
  curl -X POST https://x:8080/a@b
  curl http://[::1]:4318/v1/a@b
  curl -H Content-Type:~application/json https://x
  curl -H Accept:~text/html -A agent https://x
  curl https://x/?sort=key&page=2
  wget --ask-password https://x/f
  wget -q https://x/design=1
  psql -h db -U bob -p 5432 -d app
  pg_dump -h db -U bob -p 5432 app
  mysql -p -u root db
  mysql -P 3306 --protocol=tcp -h db
  redis-cli -h db ping
  redis-server *:6379
  mongod --port 27017 --dbpath /d
  sqlite3 auth.db .tables
  sqlplus /nolog
  sqlplus / as sysdba
  openssl req -key k.pem -out x
  openssl x509 -in auth.pem -noout -text
  openssl s_client -connect token.example:443
  openssl rand -hex 32
  gpg --list-keys
  gpg --passphrase-fd 0 -d x
  gpg --passphrase-file /x -d y
  keytool -list -keystore auth.jks -storepass:env PW
  vault status
  vault kv get secret/token
  vault kv list secret/
  vault token lookup
  vault auth list
  vault login -
  gh auth status
  gh auth login --with-token
  gh secret list
  gh pr create --title auth:~token
  az account get-access-token
  az keyvault secret show --name token --vault-name v
  gcloud auth print-access-token
  gcloud auth login
  gcloud secrets versions access latest prod-db
  gcloud run deploy x --set-secrets=KEY=secret:latest
  terraform plan -target=module.auth.token
  helm upgrade auth ./auth -f secret.yaml
  helm list -n token
  heroku auth:token
  firebase login:ci
  nmcli dev wifi list
  nmcli con show token
  smbclient -N //h/s -U u
  smbclient -A /etc/auth //h/s
  net ads info
  ldapsearch -x -b dc=x -W
  ldapsearch -y /passfile -b dc=x
  rabbitmqctl list_users
  htpasswd -c file u
  zip -r auth.zip auth
  unzip -p a.zip token
  7z x a.7z -otoken
  unrar x -p- x.rar
  restic -r /b --password-file /x --password-command y snapshots
  borg list ::token
  rclone ls secret:path --password-command x
  rclone copy auth: b
  tmux new -s auth
  screen -S token
  strace -f -e trace=keyctl prog
  perf record -e probe:auth prog
  bpftrace -e x token.bt
  dbus-daemon --system --nopidfile
  gnome-keyring-daemon --start --components=secrets
  polkit-agent-helper-1 bob
  su - token
  sudo -u secret -g auth id
  sudo -S true
  nc -z auth 8080
  nc auth:8080
  wait-for-it auth:5432 -t 30
  envoy --service-cluster auth --config-path /etc/secret.yaml
  etcd --cert-file /x
  kubeadm token list
  kubeadm token create --ttl 1h
  certbot certonly --authenticator webroot
  nginx -g daemon~off;
  postgres -D /var/lib/postgresql
  haproxy -f auth.cfg
  dovecot/auth -w
  saslauthd -a pam
  sssd_pam --uid 0
  sh -c test~-d~auth~||~mkdir~-p~auth
  sh -c grep~-c~password~f~|~wc~-l
  sh -c read~-s~-p~"Password:~"~PW;~echo~"Enter~token:~"
  sh -c echo~the~key~of~the~author
  sh -c ls~/etc/passwd~/run/secrets;~cp~-p~a~b
  sh -c [~-z~"$TOKEN"~]~&&~exit~1
  sh -c kubectl~get~secret~my-token~-o~yaml
  sh -c docker~run~-p~80:80~-u~root~i~|~tee~x
  sh -c make~-j8~auth~&&~./auth~--port~80
  sh -c npm~run~auth:build~&&~node~token.js
`
  .trim()
  .split(/\n\s*/);

/** The compiler's line of a kernel build, the class path of an application, and what the two are often mistaken for. */
export const KERNEL_COMPILE =
  'gcc -Wp,-MMD,security/keys/.request_key_auth.o.d -nostdinc -I./arch/x86/include -I./include -I./include/uapi ' +
  '-include ./include/linux/compiler-version.h -include ./include/linux/kconfig.h -D__KERNEL__ -fmacro-prefix-map=./= ' +
  '-Wall -Wundef -std=gnu11 -fshort-wchar -fno-common -fno-PIE -fno-strict-aliasing -mno-sse -m64 -falign-jumps=1 ' +
  '-DKBUILD_MODFILE="security/keys/request_key_auth" -DKBUILD_BASENAME="request_key_auth" ' +
  '-DKBUILD_MODNAME="request_key_auth" -D__KBUILD_MODNAME=kmod_request_key_auth -c -o security/keys/request_key_auth.o ' +
  'security/keys/request_key_auth.c';

const JARS = [
  'spring-security-oauth2-core',
  'jjwt-api',
  'token-store',
  'secret-manager-client',
  'authlib',
  'keycloak-core',
];
export const CLASS_PATH = `java -Xmx1g -cp ${Array.from({ length: 70 }, (_, index) => {
  const jar = JARS[index % JARS.length];
  return `/opt/app/lib/${jar}-5.${index}.1.RELEASE.jar`;
}).join(':')} com.example.auth.Main --server.port=8080`;
