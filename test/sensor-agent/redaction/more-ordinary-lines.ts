/** More command lines without a secret. Words are split at spaces; "~" stands for a space within a word. */
export const MORE_ORDINARY: readonly string[] = `
  kubectl get secret x  |||  kubectl get secret  |||  kubectl get secret -A -o json
  kubectl get secret/my-token -o jsonpath={.data.token}  |||  kubectl get secret x -o jsonpath={.data.password}
  kubectl get secret x -o go-template={{.data.token}}  |||  kubectl get secret x --template={{.data.password}}
  kubectl create secret generic x --from-file=token=/path/to/f  |||  kubectl create secret generic x --from-env-file=/x
  kubectl create secret tls x --cert=a.crt --key=a.key  |||  kubectl patch secret x -p {}
  kubectl auth can-i list secrets  |||  kubectl config set-context c --user=token-user --namespace=n
  kubectl config set-cluster c --server=https://h:6443  |||  kubectl config use-context token
  kubectl config get-contexts  |||  kubectl config view --minify
  kubectl config set-credentials bob --client-certificate=a.crt --client-key=a.key  |||  kubectl label secret x app=auth
  kubectl annotate secret x token=  |||  kubectl wait --for=condition=Ready pod -l app=token
  kubectl port-forward svc/auth 8080:80  |||  kubectl port-forward svc/token token:80
  kubectl rollout status deploy auth-token  |||  kubectl top pod auth  |||  kubectl describe sa token
  kubectl run auth --image=auth:latest --port=80  |||  kubectl run token --image token:1.0
  kubectl cp auth:/tmp/x y  |||  kubectl exec auth -- ls /run/secrets/token  |||  grep -r password: .
  grep password= f  |||  grep -E password|token|secret f  |||  grep -rn "api_key" src  |||  grep -c token= access.log
  egrep -i passwd: /etc/nsswitch.conf  |||  rg token --glob *.ts  |||  ag secret  |||  ack password
  fgrep --color=auto password f  |||  find . -name *password*  |||  find . -name secret -type d  |||  locate passwd
  pass secret/x  |||  pass ls  |||  pass edit token  |||  pass git push  |||  pass -c email/password  |||  pass otp x
  passwd  |||  passwd -S root  |||  passwd --status root  |||  passwd -l bob  |||  vipw  |||  prog --author Bob
  prog --authors Bob  |||  prog --authority h  |||  prog --authorize x  |||  prog --authoritative x
  prog --authenticator x  |||  prog --authentication x  |||  prog --authentication-mode Webhook
  prog --authorization-mode=RBAC  |||  prog --authorization-mode RBAC  |||  prog --bypass x  |||  prog --compass x
  prog --passive x  |||  prog --passive-ftp x  |||  prog --pass-through x  |||  prog --passthrough x
  prog --pass-all x  |||  prog --passes 3  |||  prog --passes=3  |||  prog -passes=mem2reg  |||  prog --num-passes 3
  prog --max-passes=3  |||  prog --passenger x  |||  prog --password-file x  |||  prog --passphrase-file x
  prog --password-from-env X  |||  prog --password-prompt x  |||  prog --password-env X  |||  prog --password-command x
  prog --token-ttl=3h  |||  prog --token-expiry 1h  |||  prog --token-file x  |||  prog --token-path x
  prog --token-url https://h/t  |||  prog --token-endpoint https://h  |||  prog --token-type bearer
  prog --token-limit 5  |||  prog --tokens 5  |||  prog --max-tokens 100  |||  prog --tokenizer x
  prog --tokenize x  |||  prog --token-count 5  |||  prog --max-new-tokens 100  |||  prog --n-tokens 5
  prog --max_tokens=100  |||  prog --secret-name x  |||  prog --secretary x  |||  prog --secrets-dir x
  prog --auth-type=basic  |||  prog --auth-mode login  |||  prog --auth-url https://h  |||  prog --auth-user bob
  prog --auth-file x  |||  prog --auth-provider x  |||  prog --auth-plugin x  |||  prog --auth-server x
  prog --auth-port 80  |||  prog --auth-db admin  |||  prog --authenticationDatabase admin
  prog --auth-no-challenge x  |||  prog --auth-nocache x  |||  prog --auth SHA256  |||  prog --auth none
  prog --auth=basic  |||  prog --auth true  |||  prog --no-auth x  |||  prog --noauth x  |||  prog --oauth x
  prog --preauth x  |||  prog --key x  |||  prog --key-file x  |||  prog --keyfile x  |||  prog --keyring x
  prog --keyserver hkps://k  |||  prog --keys a,b  |||  prog --hotkey x  |||  prog --public-key x  |||  prog --pubkey x
  prog --sort-key name  |||  prog --partition-key id  |||  prog --primary-key id  |||  prog --foreign-key id
  prog --key-name x  |||  prog --key-id x  |||  prog --kms-key-id x  |||  prog --cookie-jar f
  prog --load-cookies f  |||  prog --save-cookies f  |||  prog --jwt-issuer x  |||  prog --jwt-audience x
  prog --credential-helper x  |||  prog --credentials-file x  |||  prog --credential-process x
  prog --use-token-auth x  |||  prog --with-password x  |||  prog --without-password x  |||  prog --show-secrets x
  prog --show-token x  |||  prog --hide-password x  |||  prog --disable-auth x  |||  prog --enable-password-auth x
  prog --allow-empty-password x  |||  prog --skip-auth x  |||  prog --require-auth x
  prog --force-password-change x  |||  prog --pwd-min-length 8  |||  prog --pw-length 8  |||  prog --spawn x --spw y
  prog --assets x --assembly y  |||  prog PASSWORD=  |||  prog TOKEN= x  |||  prog --password=  |||  prog --token
  prog --password  |||  git commit --author=Token~<t@x>  |||  git commit -m Add~token~auth
  git commit -m auth:~handle~token:~expiry  |||  git commit -m fix(auth):~token~refresh
  git commit -am Password:~fix  |||  git tag token-v1  |||  git branch auth/token
  git checkout -b fix/password-reset  |||  git log --grep=password  |||  git log -S password
  git log --format=%H~%an  |||  git show HEAD:src/auth/token.ts  |||  git show token:src/x
  git fetch origin auth:auth  |||  git remote add auth git@github.com:a/token.git
  git clone git@github.com:org/token.git  |||  git clone ssh://git@github.com/a/b
  git clone https://github.com/org/auth-token.git  |||  git clone https://bob@github.com/a/b
  git config user.name token  |||  git config --get credential.helper  |||  git config credential.helper store
  git config --global credential.helper cache  |||  git config --unset user.token
  git config --global user.signingkey ABCD1234  |||  git config --global commit.gpgsign true
  git config --list --show-origin  |||  git config core.askpass /usr/bin/x  |||  git -c core.askPass=true fetch
  git -c credential.helper= fetch  |||  git credential fill  |||  git rev-parse --verify token  |||  git grep password
  gpg --export-secret-keys x  |||  gpg --list-secret-keys  |||  gpg --export-ownertrust
  gpg --batch --passphrase-fd 3 x  |||  gpg --no-tty --pinentry-mode loopback -d f
  ssh-keygen -N -f key  |||  ssh-keygen -t rsa -b 4096 -C u@h -f key  |||  ssh-keygen -lf key  |||  ssh-keygen -R h -f known
  pk12util -i f -d sql:db -w file  |||  ab -n 10 -c 2 -H Accept:text/html -X proxy:80 http://h/  |||  make ab -P x:y
  hey -n 10 -c 2 -host h:80 http://h/  |||  isql -v DSN  |||  isql DSN user  |||  isql -U u -S srv -i f.sql -o out db
  isql -user u -role r db.fdb -i f.sql  |||  isql -b -d, -x0x09 DSN user
  gpg-agent --daemon --default-cache-ttl 60  |||  ssh-agent -s  |||  ssh -o PreferredAuthentications=password h
  ssh -o PasswordAuthentication=yes h  |||  ssh -o BatchMode=yes h  |||  ssh h cat /etc/passwd
  ssh h 'grep token f'  |||  ssh -i /root/.ssh/token.pem u@h  |||  sshd: bob [priv]  |||  sshd: bob@pts/0
  sudo -u bob -g secret x  |||  sudo -k  |||  sudo -p Password: id  |||  su - bob
  docker run --rm -it -p 80:80 -v /run/secrets:/run/secrets auth:latest sh
  docker run -v token:/x -v ./secret:/y:ro i  |||  docker run --env-file secret.env i  |||  docker run -e TOKEN i
  docker run -e PASSWORD_FILE=/run/secrets/p i  |||  docker run --network auth --name token i
  docker run --link auth:token i  |||  docker exec auth cat /run/secrets/token  |||  docker logs -f token
  docker tag auth:1 reg/auth:2  |||  docker tag token token:v2  |||  docker push reg:5000/token:latest
  docker build -t auth:dev -f Dockerfile.auth .  |||  docker build --secret id=token,env=TOKEN .
  docker compose run --rm auth token  |||  docker images auth  |||  docker rmi token:old  |||  docker inspect token
  docker stack deploy -c auth.yml token  |||  docker network create token  |||  docker volume create secret
  docker cp auth:/x .  |||  docker login  |||  docker logout  |||  podman secret create x f  |||  podman auth x
  aws sts get-session-token  |||  aws sts assume-role --role-arn x --role-session-name token
  aws secretsmanager list-secrets  |||  aws secretsmanager get-secret-value --secret-id x --query SecretString
  aws secretsmanager describe-secret --secret-id arn:aws:secretsmanager:r:1:secret:x
  aws ssm get-parameter --name /db/password --with-decryption  |||  aws ssm put-parameter --name x
  aws iam list-access-keys --user-name u  |||  aws iam create-access-key --user-name u
  aws iam get-account-password-policy  |||  aws cognito-idp admin-set-user-password --user-pool-id x
  aws s3 ls s3://token/secret/  |||  aws configure set region us-east-1  |||  aws configure set default.output json
  aws configure set aws_profile x  |||  aws configure get aws_secret_access_key
  aws configure export-credentials --format env  |||  aws ecr get-login-password --region x
  aws --profile token s3 ls  |||  gcloud auth list  |||  gcloud auth activate-service-account --key-file=k.json
  gcloud config set project auth-token  |||  gcloud config set account u@x  |||  gcloud config get-value account
  gcloud secrets list  |||  gcloud secrets versions access latest --secret=db
  gcloud secrets create x --data-file=f  |||  gcloud iam service-accounts keys list
  az account get-access-token --resource x  |||  az keyvault secret list --vault-name v
  az keyvault secret show --name x --vault-name v  |||  az ad sp create-for-rbac  |||  az login
  az login --use-device-code  |||  vault read secret/token  |||  vault kv get -field=password secret/x
  vault kv delete secret/token  |||  vault token create -ttl=1h -policy=x  |||  vault auth enable userpass
  vault auth enable -path=token approle  |||  vault list auth/token/accessors  |||  vault policy write token f.hcl
  vault secrets enable -path=secret kv  |||  vault secrets list  |||  vault operator init  |||  vault server -config=/x
  consul kv get app/password  |||  consul kv list token  |||  consul acl token list  |||  consul agent -dev
  nomad status auth  |||  npm run auth  |||  npm run token -- --watch  |||  npm test -- auth.test.js
  npm token list  |||  npm login  |||  npm whoami  |||  npm config get //r/:_authToken
  npm config delete //r/:_authToken  |||  npm config list  |||  npm config set registry https://r/
  npm config set fund false  |||  npm install passport @auth/core next-auth jsonwebtoken
  npm install password-hash@1.2.2  |||  npm i token-types@5  |||  npm view auth  |||  npm publish --access public
  yarn config set npmRegistryServer https://x  |||  pip install pyjwt python-keycloak passlib keyring
  pip install git+https://github.com/a/token.git  |||  pip config list  |||  cargo add jsonwebtoken secrecy
  cargo build --features auth,token  |||  cargo test password  |||  cargo run --bin token
  go get github.com/golang-jwt/jwt  |||  go test ./auth/... -run Token  |||  mvn -pl auth -am test
  mvn -Dtest=PasswordTest test  |||  mvn -DskipTests=true package  |||  gradle :auth:build :token:test
  gradle auth:build  |||  gradle build -x :token:test  |||  ./gradlew :auth:token:test  |||  sbt auth/test
  bazel test //auth:token_test  |||  make -C auth token  |||  make auth=1  |||  ninja -C out auth token
  cmake --build . --target auth  |||  cmake -DAUTH_ENABLED=ON -DTOKEN_SUPPORT=OFF .
  cmake -DOPENSSL_ROOT_DIR=/x -DCMAKE_PREFIX_PATH=/y .  |||  cmake -DPASSWORD_LIB=/usr/lib/libpw.so .
  meson setup build -Dauth=enabled -Dkeyring=disabled  |||  meson setup build -Dpam=enabled -Dpassword-quality=disabled
  ./configure --with-pam --with-password --enable-auth --without-token
  ./configure --with-auth=pam --with-passwd=/x  |||  ./configure --enable-auth-basic=DB,LDAP
  gcc -DPASSWORD_MAX=64 -c x.c  |||  gcc -DUSE_TOKEN -DHAVE_AUTH=1 x.c  |||  gcc -DTOKEN_SIZE=16 -DKEY_SIZE=32 x.c
  gcc -DAUTH_METHOD=2 x.c  |||  gcc -o token token.o auth.o -lpam -lkeyutils
  gcc -include auth.h -MT token.o -MF .deps/token.Tpo -c token.c
  cc1 -quiet -I auth -imultiarch x -D TOKEN=1 token.c -o /tmp/x.s  |||  as --64 -o token.o /tmp/x.s
  ld -T script -o auth --start-group token.a --end-group  |||  ar rcs libauth.a token.o
  objcopy --only-keep-debug auth auth.debug  |||  clang -cc1 -triple x -mrelocation-model pic -main-file-name token.c
  opt -passes='default<O3>' x.bc  |||  opt -passes=instcombine,simplifycfg x
  opt -load-pass-plugin=x.so -passes=hello x  |||  llc -debug-pass=Structure x
  rustc --edition 2021 --crate-name token --extern secrecy=/x  |||  java -cp a/token.jar:b/secret.jar:/c/auth.jar Main
  java -cp lib/*:token Main  |||  java -Djava.security.auth.login.config=/x Main
  java -Djava.security.egd=file:/dev/urandom -jar auth.jar  |||  java -Djavax.net.ssl.trustStore=/x -jar token.jar
  java -Djavax.net.ssl.keyStoreType=JKS x  |||  java -Dcom.sun.management.jmxremote.authenticate=false x
  java -Dcom.sun.management.jmxremote.password.file=/x x  |||  java -Dspring.profiles.active=auth x
  java -Dtoken.ttl=5 x  |||  java -classpath /usr/share/java/token.jar:/usr/share/java/password-utils.jar org.x.Auth
  node auth.js token  |||  node --require ./auth --import token x  |||  node -e console.log(1)
  node -r dotenv/config auth  |||  python -m auth.token  |||  python -c import~getpass
  python manage.py changepassword bob  |||  python manage.py test auth.tests.TestPassword  |||  ruby auth.rb token
  php artisan key:generate  |||  php artisan auth:clear-resets  |||  php artisan jwt:secret
  php bin/console security:hash-password  |||  rails secret  |||  rake auth:token
  mix phx.gen.auth Accounts User users  |||  perl -MCrypt::Password -e 1  |||  apt-get install libpam-passwdqc
  apt install pass  |||  apt-get -y install auth-client-config  |||  apt-cache policy keyring  |||  apt-mark hold token
  dpkg -i token.deb  |||  dpkg-query -W -f=\${Status} passwd  |||  yum install -y passwd  |||  dnf install keyutils
  rpm -q shadow-utils passwd  |||  pacman-key --init  |||  snap install auth  |||  snap set x port=80
  systemctl status auth  |||  systemctl enable --now token.timer  |||  systemctl --user start gnome-keyring
  systemctl is-active passwd  |||  systemd-ask-password Enter  |||  systemd-creds list
  journalctl -u auth.service -g token  |||  journalctl -t sudo -g password  |||  loginctl list-sessions
  machinectl shell token  |||  timedatectl set-ntp true  |||  hostnamectl set-hostname auth  |||  resolvectl query auth
  ip netns exec auth ip a  |||  ip link add token type veth  |||  iptables -A INPUT -m comment --comment auth
  nft add table token  |||  tcpdump -i any -w token.pcap  |||  curl -I https://auth.example.com/token
  curl https://h/token?id=1  |||  curl -o token https://h/x  |||  curl -sSLf https://h/password.txt
  curl -X DELETE https://h/api/token/1  |||  curl -d @token.json https://h
  curl -d grant_type=client_credentials https://h  |||  curl -d grant_type=password https://h/oauth/token
  curl -H Accept:application/json h  |||  curl -u bob h  |||  curl --user bob h  |||  curl -E cert.pem --key key.pem h
  curl --cert cert.pem h  |||  curl --negotiate -u : h  |||  curl --anyauth h  |||  curl --proxy-anyauth h
  curl --netrc-file f h  |||  curl --cookie-jar f h  |||  curl --cookie f h  |||  curl https://user@h/x
  curl http://h:80/a:b@c  |||  curl -x http://p:3128 h  |||  curl --proxy p:3128 h
  curl --resolve h:443:1.2.3.4 https://h  |||  wget --user=bob --ask-password h
  wget --no-check-certificate https://h/token.tgz  |||  wget -O secret f  |||  http GET h/token  |||  http h auth==1
  psql -U auth -d token -c select~1  |||  psql -c select~token~from~x  |||  psql -c SELECT~password~FROM~users
  psql -c \\d~auth  |||  psql -h h -W  |||  psql postgres://h/db  |||  psql postgres://u@h/db  |||  pg_restore -d auth f
  mysql -u token -D auth  |||  mysql -e show~tables  |||  mysql -e select~*~from~user~where~password~is~null
  mysql --defaults-file=/x  |||  mysql --skip-password  |||  mysql --login-path=x  |||  mysqldump --no-data auth
  mysqladmin status  |||  sqlite3 token.db select~1  |||  redis-cli get token  |||  redis-cli set counter 5
  redis-cli --scan --pattern token:*  |||  redis-cli keys auth:*  |||  redis-cli del token:1
  redis-cli config get requirepass  |||  redis-cli monitor  |||  redis-server --port 6379 --dir /x
  redis-server 127.0.0.1:6379  |||  mongo --eval db.auth.find()  |||  mongod --auth  |||  mongod --keyFile /x
  etcdctl get /token  |||  etcdctl user list  |||  etcdctl user add bob --no-password  |||  etcdctl endpoint health
  ldapsearch -x -LLL uid=x userPassword  |||  ldapsearch -Y GSSAPI  |||  smbclient -k //h/s  |||  smbclient -L h -N
  sqlplus /@wallet  |||  sqlplus -V  |||  sqlplus @script.sql  |||  7z a x.7z password.txt  |||  7z l x.7z
  zip x.zip token.txt  |||  zip -r -q x.zip secret  |||  unzip x.zip -d token  |||  unzip -l x.zip
  tar xf token.tar -C auth  |||  openssl s_client -connect h:443 -servername auth
  openssl verify -CAfile a token.pem  |||  openssl genrsa -out key.pem 2048  |||  openssl pkey -in key.pem -pubout
  openssl rsa -in key.pem -passin env:PW  |||  openssl rsa -in key.pem -passin file:/x  |||  openssl passwd -stdin
  openssl dgst -sha256 -sign key.pem f  |||  openssl enc -d -in x -pass env:PW  |||  openssl enc -d -in x -pass file:/x
  openssl enc -d -in x -pass stdin  |||  ansible-playbook site.yml --tags auth,token
  ansible-playbook -i h --ask-pass --ask-become-pass site.yml  |||  ansible-playbook -k -K site.yml
  ansible-vault encrypt secret.yml  |||  ansible-galaxy install auth
  terraform apply -target=aws_secretsmanager_secret.x  |||  terraform state list
  terraform import aws_iam_access_key.x AKID  |||  terraform workspace select token
  helm install auth repo/auth --set replicas=2  |||  helm install x y --set auth.enabled=true
  helm install x y --set image.tag=token  |||  helm install x y --set auth.existingSecret=my-secret
  helm template secret .  |||  pulumi config get token  |||  pulumi config  |||  pulumi stack select token
  rclone copy secret:x y  |||  rclone lsf token:  |||  rsync -avz auth/ h:token/  |||  rsync -e ssh token:x .
  scp auth:x .  |||  sftp token  |||  restic backup secret  |||  borg list  |||  tmux attach -t token
  vim +set~paste token  |||  less +F auth.log  |||  tail -f /var/log/auth.log  |||  cat /run/secrets/token
  cat password.txt  |||  echo password  |||  echo token secret  |||  head -c 32 /dev/urandom  |||  base64 -d token
  jq -r .access_token f  |||  jq .data.password f  |||  jq -r .auths f  |||  yq .token f  |||  sed -i s/token/x/ f
  sed -e s/password=.*/password=/ f  |||  awk -F: {print~$1} /etc/passwd  |||  awk -F: $1=="token" f
  cut -d: -f1 /etc/passwd  |||  sort -k2 token  |||  tr -d x  |||  xargs -I{} echo token  |||  diff auth token
  chmod 600 secret token  |||  chown root:token f  |||  chown secret:secret f  |||  chgrp token f  |||  ls -l secret
  stat token  |||  mv secret token  |||  touch token  |||  ln -s secret token  |||  mount -o credentials=/x //h/s /m
  mount -t cifs -o user=u,credentials=/etc/cred //h/s /m  |||  mkdir secret  |||  useradd -m token
  usermod -aG auth bob  |||  groupadd token  |||  htpasswd -D f u  |||  htpasswd -v f u
  rabbitmqctl set_permissions u .* .* .*  |||  rabbitmqctl delete_user u  |||  mosquitto_pub -h h -t token -m x
  mosquitto_sub -t auth/token -p 1883  |||  nmcli con up token  |||  nmcli dev wifi connect s
  nmcli -f wifi-sec.psk con show x  |||  nmcli con show --show-secrets x  |||  wpa_supplicant -i x -c f
  iw dev wlan0 scan  |||  certbot renew  |||  acme.sh --issue -d x  |||  nginx -t
  nginx: master process /usr/sbin/nginx -g daemon on;  |||  postgres: auth token [local] idle  |||  postgres: walwriter
  dovecot/auth  |||  sssd_nss  |||  gdm-password]  |||  gdm-session-worker [pam/gdm-password]
  /usr/libexec/gsd-keyboard  |||  /usr/bin/gnome-keyring-daemon --daemonize --login
  /usr/lib/policykit-1-gnome/polkit-gnome-authentication-agent-1  |||  /usr/libexec/xdg-desktop-portal-secret
  ssh-askpass  |||  kwalletd5  |||  fprintd  |||  pcscd --foreground  |||  saslauthd -a pam -c -m /x -n 5
  Xorg -auth /var/run/lightdm/root/:0 vt7  |||  xauth list  |||  xinit -- -auth /tmp/x  |||  startx -- -auth /x
  chrome --type=renderer --enable-features=PasswordImport --token=  |||  chrome --password-store=basic --type=gpu
  chrome --type=utility --utility-sub-type=auth  |||  code --password-store=gnome
  electron --password-store=gnome-libsecret  |||  firefox -contentproc -parentBuildID 1 -prefsLen 1  |||  teamviewer --x
  snapd auth  |||  gitlab-runner run  |||  gitlab-runner register --non-interactive  |||  act -l  |||  gh auth token
  gh auth login  |||  gh secret set TOKEN  |||  gh secret set TOKEN --repo a/b  |||  gh api /repos/a/b
  gh pr list --author bob  |||  glab auth status  |||  hub pr list  |||  stripe listen  |||  heroku config:get TOKEN
  heroku authorizations  |||  heroku auth:whoami  |||  firebase login  |||  netlify deploy --auth  |||  vercel env pull
  sh -c cat~/etc/passwd~|~cut~-d:~-f1  |||  sh -c grep~-i~password:~f  |||  sh -c grep~'password'~f
  sh -c grep~"token"~'my~file'  |||  sh -c echo~"no~secret~here"  |||  sh -c echo~"token~expired"
  sh -c echo~password:  |||  sh -c test~-n~"$TOKEN"  |||  sh -c [~-n~"$PASSWORD"~]~||~exit~1
  sh -c if~[~-z~"\${TOKEN}"~];~then~exit~1;~fi  |||  sh -c cd~auth~&&~make~token
  sh -c kubectl~get~secret~x~-o~json~|~jq~.data.token  |||  sh -c docker~ps~|~grep~auth
  sh -c ps~aux~|~grep~password  |||  sh -c unset~TOKEN~PASSWORD  |||  sh -c export~TOKEN  |||  sh -c read~-s~PASSWORD
  sh -c read~-sp~"Password:~"~pw  |||  sh -c echo~"Password:~"  |||  sh -c printf~"Token:~"  |||  sh -c command~-v~pass
  sh -c which~gpg~pass  |||  sh -c awk~-F:~'{print~$1}'~/etc/passwd  |||  sh -c getent~passwd~bob~|~cut~-d:~-f6
  sh -c npm~run~auth:build~&&~npm~run~token:test  |||  sh -c go~test~./auth/...~-run~'Token|Password'
  sh -c echo~y~|~apt-get~install~passwd  |||  sh -c echo~x~|~grep~passwd  |||  sh -c sed~'s/password=.*//'~f
  sh -c for~t~in~auth~token;~do~make~$t;~done  |||  sh -c while~read~token;~do~echo~x;~done~<~f
  sh -c curl~-s~https://h/token~|~jq~.  |||  sh -c git~commit~-m~"auth:~fix~token"
  sh -c git~log~--author="Bob~Token"  |||  sh -c touch~auth~token;~ls
  sh -c mkdir~-p~/run/secrets~&&~chmod~700~/run/secrets  |||  sh -c systemctl~restart~auth;~journalctl~-u~auth
  sh -c ls~|~wc~-l;~passwd~-S~root  |||  sh -c test~$#~-gt~0~#~password  |||  sh -c echo~"set~password~for~user"
  sh -c echo~"the~secret~is~safe"  |||  sh -c echo~"auth~token:~none"  |||  bash --rcfile /x -i
  /bin/sh /usr/bin/xauth list  |||  cron: token  |||  run-parts --report /etc/cron.daily
  logrotate /etc/logrotate.d/auth
`
  .trim()
  .split(/\s*\n\s*|\s+\|\|\|\s+/);
