// A client of EST's fullcmc made of Bouncy Castle and the JDK: Full PKI Requests go out by
// HTTPS, and each response is verified up to the root and read. Each line of the input is
// a verb and its arguments, and is answered by one line: the HTTP status and the statuses
// of the response, then what the verb is about.
import java.io.*;
import java.math.BigInteger;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.cert.Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.net.ssl.*;
import org.bouncycastle.asn1.*;
import org.bouncycastle.asn1.cmc.*;
import org.bouncycastle.asn1.cmc.CertificationRequest;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.crmf.*;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.*;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.crmf.jcajce.*;
import org.bouncycastle.cert.jcajce.*;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.*;
import org.bouncycastle.pkcs.jcajce.*;
import org.bouncycastle.util.encoders.Hex;

public class FullCmc {
    static final AlgorithmIdentifier SHA256 = new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256);
    static final AlgorithmIdentifier HMAC = new AlgorithmIdentifier(PKCSObjectIdentifiers.id_hmacWithSHA256, DERNull.INSTANCE);
    static final JcaX509CertificateConverter X509 = new JcaX509CertificateConverter();

    static String server;
    static X509Certificate root;
    static SSLSocketFactory sockets;
    static Map<String, KeyPair> keys = new HashMap<>();
    static Map<String, X509Certificate> certificates = new HashMap<>();
    static Answer last;
    static byte[] token;

    // A message in the making: controls, requests and nested messages with their ids.
    static class Letter {
        List<TaggedAttribute> controls = new ArrayList<>();
        List<TaggedRequest> requests = new ArrayList<>();
        List<TaggedContentInfo> nested = new ArrayList<>();
        byte[] random = new byte[64];
        byte[] nonce = new byte[16];
        long next = 1;

        Letter() throws Exception {
            new SecureRandom().nextBytes(random);
            new SecureRandom().nextBytes(nonce);
            add(CMCObjectIdentifiers.id_cmc_transactionId, new ASN1Integer(99));
            add(CMCObjectIdentifiers.id_cmc_senderNonce, new DEROctetString(nonce));
        }

        long add(ASN1ObjectIdentifier type, ASN1Encodable value) {
            controls.add(new TaggedAttribute(new BodyPartID(next), type, new DERSet(value)));
            return next++;
        }

        long nest(byte[] message) {
            nested.add(new TaggedContentInfo(new BodyPartID(next), ContentInfo.getInstance(message)));
            return next++;
        }

        PKIData data() {
            return new PKIData(controls.toArray(new TaggedAttribute[0]), requests.toArray(new TaggedRequest[0]), nested.toArray(new TaggedContentInfo[0]), new OtherMsg[0]);
        }

        // RFC 5272 §6.2: the last control, as it covers all requests.
        void prove(String user, String secret) throws Exception {
            byte[] name = user.getBytes(StandardCharsets.UTF_8);
            add(CMCObjectIdentifiers.id_cmc_identification, new DERUTF8String(user));
            byte[] sequence = new DERSequence(requests.toArray(new TaggedRequest[0])).getEncoded(ASN1Encoding.DER);
            add(CMCObjectIdentifiers.id_cmc_identityProofV2, new IdentityProofV2(SHA256, HMAC, hmac(sha256(secret.getBytes(StandardCharsets.UTF_8), name), sequence)));
        }

        byte[] signed(PrivateKey key, X509Certificate cert, byte[] keyID) throws Exception {
            CMSSignedDataGenerator g = new CMSSignedDataGenerator();
            if (key != null) {
                ContentSigner s = signer(key);
                JcaSignerInfoGeneratorBuilder b = new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().setProvider("BC").build());
                g.addSignerInfoGenerator(cert != null ? b.build(s, cert) : b.build(s, keyID));
            }
            if (cert != null) {
                g.addCertificate(new X509CertificateHolder(cert.getEncoded()));
            }
            return g.generate(new CMSProcessableByteArray(CMCObjectIdentifiers.id_cct_PKIData, data().getEncoded(ASN1Encoding.DER)), true).getEncoded();
        }

        byte[] authenticated(String secret) throws Exception {
            CMSAuthenticatedDataGenerator g = new CMSAuthenticatedDataGenerator();
            g.addRecipientInfoGenerator(new JcePasswordRecipientInfoGenerator(CMSAlgorithm.AES256_CBC, secret.toCharArray()).setProvider("BC")
                .setPRF(PasswordRecipient.PRF.HMacSHA256).setSaltAndIterationCount(new byte[16], 2048));
            return g.generate(new CMSProcessableByteArray(CMCObjectIdentifiers.id_cct_PKIData, data().getEncoded(ASN1Encoding.DER)),
                new JceCMSMacCalculatorBuilder(PKCSObjectIdentifiers.id_hmacWithSHA256).setProvider("BC").build(),
                new JcaDigestCalculatorProviderBuilder().setProvider("BC").build().get(SHA256)).getEncoded();
        }
    }

    // A response, verified.
    static class Answer {
        int http;
        byte[] der;
        CMSSignedData signed;
        PKIResponse response;
        List<TaggedAttribute> controls = new ArrayList<>();

        ASN1Encodable control(ASN1ObjectIdentifier type) {
            for (TaggedAttribute a : controls) {
                if (a.getAttrType().equals(type)) {
                    return a.getAttrValues().getObjectAt(0);
                }
            }
            return null;
        }

        X509Certificate of(PublicKey key) throws Exception {
            for (X509CertificateHolder h : signed.getCertificates().getMatches(null)) {
                if (Arrays.equals(h.getSubjectPublicKeyInfo().getEncoded(), key.getEncoded())) {
                    return X509.getCertificate(h);
                }
            }
            return null;
        }

        // 200 success 4 | failed 5 badRequest
        String shown() {
            StringBuilder out = new StringBuilder().append(http);
            for (TaggedAttribute a : controls) {
                if (!a.getAttrType().equals(CMCObjectIdentifiers.id_cmc_statusInfoV2)) {
                    continue;
                }
                CMCStatusInfoV2 s = CMCStatusInfoV2.getInstance(a.getAttrValues().getObjectAt(0));
                out.append(" ").append(s.getcMCStatus().toASN1Primitive());
                // BC's getBodyList knows no paths (RFC 5272 §6.1.1, BodyPartReference).
                for (ASN1Encodable id : ASN1Sequence.getInstance(ASN1Sequence.getInstance(s.toASN1Primitive()).getObjectAt(1))) {
                    out.append(":").append(id instanceof ASN1Sequence path ? path(path) : id.toString());
                }
                OtherStatusInfo o = s.getOtherStatusInfo();
                if (o != null && o.toASN1Primitive() instanceof ASN1Integer) {
                    out.append(" fail").append(o.toASN1Primitive());
                } else if (o != null) {
                    token = PendInfo.getInstance(o.toASN1Primitive()).getPendToken();
                    out.append(" pending");
                }
            }
            return out.toString();
        }
    }

    static String path(ASN1Sequence ids) {
        List<String> out = new ArrayList<>();
        for (ASN1Encodable id : ids) {
            out.add(id.toString());
        }
        return String.join("/", out);
    }

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = answer(line.split(" "));
            } catch (Exception e) {
                StringWriter trace = new StringWriter();
                e.printStackTrace(new PrintWriter(trace));
                answer = "refused: " + trace.toString().lines().limit(8).toList();
            }
            System.out.println(answer);
        }
    }

    static String answer(String[] w) throws Exception {
        switch (w[0]) {
            case "server":
                server = w[1];
                root = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(Files.readAllBytes(Path.of(w[2]))));
                KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
                trusted.load(null, null);
                trusted.setCertificateEntry("root", root);
                TrustManagerFactory f = TrustManagerFactory.getInstance("PKIX");
                f.init(trusted);
                SSLContext context = SSLContext.getInstance("TLS");
                context.init(null, f.getTrustManagers(), null);
                sockets = context.getSocketFactory();
                return "ready";
            case "load": // NAME KEY CERTIFICATE
                certificates.put(w[1], (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(Files.readAllBytes(Path.of(w[3])))));
                String pem = Files.readString(Path.of(w[2])).replaceAll("-----[^-]+-----|\\s", "");
                keys.put(w[1], new KeyPair(certificates.get(w[1]).getPublicKey(), KeyFactory.getInstance("EC", "BC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)))));
                return "ready";
            case "save":
                Files.write(Path.of(w[1]), last.der);
                return "ready";
            case "enrol": // PATH FORM NAME USER SECRET
                return enrol(w);
            case "by": // PATH FORM NAME HOLDER: signed with another's certificate
                return by(w);
            case "challenge": // PATH NAME USER SECRET
                return challenge(w);
            case "poll": { // PATH HOLDER NAME
                for (int i = 0; ; i++) {
                    Letter l = new Letter();
                    l.add(CMCObjectIdentifiers.id_cmc_queryPending, new DEROctetString(token));
                    String said = send(w[1], l, l.signed(keys.get(w[2]).getPrivate(), certificates.get(w[2]), null));
                    if (last.http != 202 || i == 200) {
                        return said + " " + kept(w[3]);
                    }
                    Thread.sleep(200);
                }
            }
            case "getcert": { // PATH HOLDER NAME
                Letter l = new Letter();
                X509Certificate c = certificates.get(w[3]);
                l.add(CMCObjectIdentifiers.id_cmc_getCert, new GetCert(new GeneralName(name(c.getIssuerX500Principal())), c.getSerialNumber()));
                String said = send(w[1], l, l.signed(keys.get(w[2]).getPrivate(), certificates.get(w[2]), null));
                X509Certificate got = last.of(c.getPublicKey());
                return said + " " + c.equals(got);
            }
            case "getcrl": { // PATH HOLDER
                Letter l = new Letter();
                X509Certificate c = certificates.get(w[2]);
                l.add(CMCObjectIdentifiers.id_cmc_getCRL, new GetCRL(name(c.getIssuerX500Principal()), null, null, null));
                String said = send(w[1], l, l.signed(keys.get(w[2]).getPrivate(), c, null));
                var lists = last.signed.getCRLs().getMatches(null);
                return said + " " + lists.size() + " " + name(c.getIssuerX500Principal()).equals(lists.iterator().next().getIssuer());
            }
            case "confirm": { // PATH HOLDER
                Letter l = new Letter();
                X509Certificate c = certificates.get(w[2]);
                l.add(CMCObjectIdentifiers.id_cmc_confirmCertAcceptance, new org.bouncycastle.asn1.cms.IssuerAndSerialNumber(name(c.getIssuerX500Principal()), c.getSerialNumber()));
                return send(w[1], l, l.signed(keys.get(w[2]).getPrivate(), c, null));
            }
            case "revoke": { // PATH NAME [SECRET]: by its key, or by the secret, unsigned
                Letter l = new Letter();
                X509Certificate c = certificates.get(w[2]);
                l.add(CMCObjectIdentifiers.id_cmc_revokeRequest, new RevokeRequest(name(c.getIssuerX500Principal()), new ASN1Integer(c.getSerialNumber()), org.bouncycastle.asn1.x509.CRLReason.lookup(org.bouncycastle.asn1.x509.CRLReason.keyCompromise),
                    null, w.length > 3 ? new DEROctetString(w[3].getBytes(StandardCharsets.UTF_8)) : null, new DERUTF8String("lost")));
                return send(w[1], l, w.length > 3 ? l.signed(null, null, null) : l.signed(keys.get(w[2]).getPrivate(), c, null));
            }
            case "anchors": // PATH USER SECRET
                return anchors(w);
            case "tell": { // PATH HOLDER: data, registration information and a control that nobody knows
                Letter l = new Letter();
                l.add(CMCObjectIdentifiers.id_cmc_dataReturn, new DEROctetString("mine".getBytes()));
                l.add(CMCObjectIdentifiers.id_cmc_regInfo, new DEROctetString("room 12".getBytes()));
                String first = send(w[1], l, l.signed(keys.get(w[2]).getPrivate(), certificates.get(w[2]), null));
                boolean back = Arrays.equals("mine".getBytes(), ASN1OctetString.getInstance(last.control(CMCObjectIdentifiers.id_cmc_dataReturn)).getOctets());
                boolean info = last.control(CMCObjectIdentifiers.id_cmc_responseInfo) != null;
                l = new Letter();
                l.add(new ASN1ObjectIdentifier("1.3.6.1.4.1.99999.1"), DERNull.INSTANCE);
                return first + " " + back + " " + info + " " + send(w[1], l, l.signed(keys.get(w[2]).getPrivate(), certificates.get(w[2]), null));
            }
            case "ra": // PATH RA NAME ASKED CHANGED
                return ra(w);
            case "batch": // PATH RA HOLDER NAME
                return batch(w);
            default:
                throw new IllegalArgumentException(w[0]);
        }
    }

    static X500Name name(javax.security.auth.x500.X500Principal p) { return X500Name.getInstance(p.getEncoded()); }

    static byte[] sha256(byte[]... parts) throws Exception {
        MessageDigest d = MessageDigest.getInstance("SHA-256");
        for (byte[] p : parts) {
            d.update(p);
        }
        return d.digest();
    }

    static byte[] hmac(byte[] key, byte[] message) throws Exception {
        Mac m = Mac.getInstance("HmacSHA256");
        m.init(new SecretKeySpec(key, "HmacSHA256"));
        return m.doFinal(message);
    }

    static ContentSigner signer(PrivateKey key) throws Exception {
        return new JcaContentSignerBuilder(key.getAlgorithm().equals("RSA") ? "SHA256withRSA" : "SHA256withECDSA").setProvider("BC").build(key);
    }

    static KeyPair pair(String name, String algorithm) throws Exception {
        KeyPairGenerator g = KeyPairGenerator.getInstance(algorithm, "BC");
        g.initialize(algorithm.equals("RSA") ? 2048 : 256);
        keys.put(name, g.generateKeyPair());
        return keys.get(name);
    }

    static Extensions names(String host) throws Exception {
        return new Extensions(new Extension(Extension.subjectAlternativeName, false, new GeneralNames(new GeneralName(GeneralName.dNSName, host)).getEncoded()));
    }

    static byte[] keyID(PublicKey key) throws Exception {
        return new JcaX509ExtensionUtils().createSubjectKeyIdentifier(key).getKeyIdentifier();
    }

    // A request by PKCS #10 or CRMF, linked to the secret if there is one (RFC 5272 §6.3).
    static void request(Letter l, String form, String host, KeyPair pair, String secret) throws Exception {
        ASN1Encodable witness = secret == null ? null : new PopLinkWitnessV2(SHA256, HMAC, hmac(sha256(secret.getBytes(StandardCharsets.UTF_8)), l.random));
        if (form.equals("pkcs10")) {
            var b = new JcaPKCS10CertificationRequestBuilder(new X500Name(new org.bouncycastle.asn1.x500.RDN[0]), pair.getPublic());
            b.addAttribute(PKCSObjectIdentifiers.pkcs_9_at_extensionRequest, names(host));
            if (witness != null) {
                b.addAttribute(CMCObjectIdentifiers.id_cmc_popLinkWitnessV2, witness);
            }
            var q = CertificationRequest.getInstance(b.build(signer(pair.getPrivate())).getEncoded());
            l.requests.add(new TaggedRequest(new TaggedCertificationRequest(new BodyPartID(l.next++), q)));
            return;
        }
        JcaCertificateRequestMessageBuilder b = new JcaCertificateRequestMessageBuilder(BigInteger.valueOf(l.next++));
        b.setSubject(new X500Name(new org.bouncycastle.asn1.x500.RDN[0])); // without one it makes a POPOSigningKeyInput, which CMC has not
        b.setPublicKey(pair.getPublic()).addExtension(Extension.subjectAlternativeName, false, new GeneralNames(new GeneralName(GeneralName.dNSName, host)));
        if (witness != null) {
            b.addControl(new org.bouncycastle.cert.crmf.Control() {
                public ASN1ObjectIdentifier getType() { return CMCObjectIdentifiers.id_cmc_popLinkWitnessV2; }

                public ASN1Encodable getValue() { return witness; }
            });
        }
        if (form.equals("crmf")) {
            b.setProofOfPossessionSigningKeySigner(signer(pair.getPrivate()));
        } else if (form.equals("challenge")) {
            b.setProofOfPossessionSubsequentMessage(ProofOfPossession.TYPE_KEY_ENCIPHERMENT, SubsequentMessage.challengeResp);
        } // else there is none
        l.requests.add(new TaggedRequest(CertReqMsg.getInstance(b.build().getEncoded())));
    }

    static String enrol(String[] w) throws Exception {
        Letter l = new Letter();
        KeyPair pair = pair(w[3], "EC");
        l.add(CMCObjectIdentifiers.id_cmc_popLinkRandom, new DEROctetString(l.random));
        request(l, w[2], w[3], pair, w[5]);
        l.prove(w[4], w[5]);
        return send(w[1], l, l.signed(pair.getPrivate(), null, keyID(pair.getPublic()))) + " " + kept(w[3]);
    }

    static String by(String[] w) throws Exception {
        Letter l = new Letter();
        request(l, w[2], w[3], pair(w[3], "EC"), null);
        return send(w[1], l, l.signed(keys.get(w[4]).getPrivate(), certificates.get(w[4]), null)) + " " + kept(w[3]);
    }

    // Whether the answer has a certificate for the key of this name, with this host name.
    static String kept(String name) throws Exception {
        X509Certificate c = last.of(keys.get(name).getPublic());
        if (c == null) {
            return "none";
        }
        certificates.put(name, c);
        return String.valueOf(c.getSubjectAlternativeNames().iterator().next().get(1));
    }

    // RFC 5272 §6.7: a key that cannot sign, in a message with a code.
    static String challenge(String[] w) throws Exception {
        KeyPair pair = pair(w[2], "RSA");
        Letter l = new Letter();
        request(l, "challenge", w[2], pair, null);
        l.add(CMCObjectIdentifiers.id_cmc_identification, new DERUTF8String(w[3]));
        String first = send(w[1], l, l.authenticated(w[4]));
        if (last.control(CMCObjectIdentifiers.id_cmc_encryptedPOP) == null) {
            return first;
        }
        EncryptedPOP p = EncryptedPOP.getInstance(last.control(CMCObjectIdentifiers.id_cmc_encryptedPOP));
        byte[] proof = new CMSEnvelopedData(p.getCms()).getRecipientInfos().getRecipients().iterator().next().getContent(new JceKeyTransEnvelopedRecipient(pair.getPrivate()).setProvider("BC"));
        if (!Arrays.equals(sha256(proof), p.getWitness())) {
            return "another witness";
        }
        Letter again = new Letter();
        again.requests.addAll(l.requests);
        long id = CertReqMsg.getInstance(l.requests.get(0).getValue()).getCertReq().getCertReqId().getValue().longValue();
        again.next = id + 1;
        again.add(CMCObjectIdentifiers.id_cmc_decryptedPOP, new DecryptedPOP(new BodyPartID(id), p.getThePOPAlgID(), hmac(proof, l.requests.get(0).toASN1Primitive().getEncoded(ASN1Encoding.DER))));
        again.add(CMCObjectIdentifiers.id_cmc_identification, new DERUTF8String(w[3]));
        return first + " then " + send(w[1], again, again.authenticated(w[4])) + " " + kept(w[2]);
    }

    // RFC 5272 §6.15, §6.16: who shares a secret need not know the root to trust it.
    static String anchors(String[] w) throws Exception {
        Letter l = new Letter();
        l.prove(w[2], w[3]);
        String said = send(w[1], l, l.signed(null, null, null));
        BodyPartID at = new BodyPartID(ASN1Integer.getInstance(last.control(CMCObjectIdentifiers.id_cmc_authData)).getValue().longValue());
        for (TaggedContentInfo n : infos(last.response.getCmsSequence())) {
            if (!n.getBodyPartID().equals(at)) {
                continue;
            }
            CMSAuthenticatedData a = new CMSAuthenticatedData(n.getContentInfo(), new JcaDigestCalculatorProviderBuilder().setProvider("BC").build());
            RecipientInformation to = a.getRecipientInfos().getRecipients().iterator().next();
            byte[] content = to.getContent(new JcePasswordAuthenticatedRecipient(w[3].toCharArray()).setProvider("BC"));
            if (!Arrays.equals(a.getMac(), to.getMac()) || !Arrays.equals(a.getContentDigest(), to.getContentDigest())) {
                return "another code";
            }
            for (TaggedAttribute c : PKIData.getInstance(content).getControlSequence()) {
                if (c.getAttrType().equals(CMCObjectIdentifiers.id_cmc_trustedAnchors)) {
                    return said + " " + Arrays.equals(sha256(root.getEncoded()), PublishTrustAnchors.getInstance(c.getAttrValues().getObjectAt(0)).getAnchorHashes()[0]);
                }
            }
        }
        return said + " none";
    }

    static List<TaggedContentInfo> infos(ASN1Sequence s) {
        List<TaggedContentInfo> out = new ArrayList<>();
        for (ASN1Encodable e : s) {
            out.add(TaggedContentInfo.getInstance(e));
        }
        return out;
    }

    // A client's request, whose key and identity the RA vouches for, and whose name it changes.
    static String ra(String[] w) throws Exception {
        Letter client = new Letter();
        KeyPair pair = pair(w[3], "EC");
        request(client, "crmf without a proof", w[4], pair, null);
        client.prove("known to the RA", "known to the RA alone");
        Letter l = new Letter();
        BodyPartID part = new BodyPartID(l.nest(client.signed(pair.getPrivate(), null, keyID(pair.getPublic()))));
        BodyPartID request = new BodyPartID(CertReqMsg.getInstance(client.requests.get(0).getValue()).getCertReq().getCertReqId().getValue().longValue());
        l.add(CMCObjectIdentifiers.id_cmc_lraPOPWitness, new LraPopWitness(part, new DERSequence(request)));
        l.add(new ASN1ObjectIdentifier("1.3.6.1.5.5.7.7.35"), new DERSequence(part));
        CertTemplate t = new CertTemplateBuilder().setExtensions(names(w[5])).build();
        l.add(CMCObjectIdentifiers.id_cmc_modCertTemplate, new ModCertTemplate(new BodyPartPath(part), new BodyPartList(request), true, t));
        return send(w[1], l, l.signed(keys.get(w[2]).getPrivate(), certificates.get(w[2]), null)) + " " + kept(w[3]);
    }

    // Two messages, each with an answer of its own.
    static String batch(String[] w) throws Exception {
        Letter l = new Letter();
        ASN1EncodableVector parts = new ASN1EncodableVector();
        for (int i = 0; i < 2; i++) {
            Letter one = new Letter();
            request(one, "pkcs10", i + w[4], pair(i + w[4], "EC"), null);
            parts.add(new BodyPartID(l.nest(one.signed(keys.get(w[3]).getPrivate(), certificates.get(w[3]), null))));
        }
        l.add(CMCObjectIdentifiers.id_cmc_batchRequests, new DERSequence(parts));
        StringBuilder out = new StringBuilder(send(w[1], l, l.signed(keys.get(w[2]).getPrivate(), certificates.get(w[2]), null)));
        ASN1Sequence ids = ASN1Sequence.getInstance(last.control(CMCObjectIdentifiers.id_cmc_batchResponses));
        int i = 0;
        for (TaggedContentInfo n : infos(last.response.getCmsSequence())) {
            if (!n.getBodyPartID().equals(BodyPartID.getInstance(ids.getObjectAt(i)))) {
                return "another answer";
            }
            last = verified(200, n.getContentInfo().getEncoded());
            out.append(" ").append(last.shown()).append(" ").append(kept(i++ + w[4]));
        }
        return out.toString();
    }

    static String send(String path, Letter l, byte[] message) throws Exception {
        HttpsURLConnection c = (HttpsURLConnection) URI.create(server + path).toURL().openConnection();
        c.setSSLSocketFactory(sockets);
        c.setRequestMethod("POST");
        c.setRequestProperty("Content-Type", "application/pkcs7-mime; smime-type=CMC-request");
        c.setDoOutput(true);
        c.getOutputStream().write(Base64.getMimeEncoder().encode(message));
        int http = c.getResponseCode();
        byte[] body = (http >= 400 ? c.getErrorStream() : c.getInputStream()).readAllBytes();
        if (!"application/pkcs7-mime; smime-type=CMC-response".equals(c.getContentType())) {
            return http + " " + c.getContentType() + " " + new String(body, StandardCharsets.UTF_8).trim();
        }
        last = verified(http, Base64.getMimeDecoder().decode(body));
        if (!Arrays.equals(l.nonce, ASN1OctetString.getInstance(last.control(CMCObjectIdentifiers.id_cmc_recipientNonce)).getOctets())
            || ASN1Integer.getInstance(last.control(CMCObjectIdentifiers.id_cmc_transactionId)).getValue().intValue() != 99) {
            return "another's answer";
        }
        return last.shown();
    }

    // The signature, and the signer up to the root; id-kp-cmcCA (RFC 6402 §2.10).
    static Answer verified(int http, byte[] der) throws Exception {
        Answer a = new Answer();
        a.http = http;
        a.der = der;
        a.signed = new CMSSignedData(der);
        SignerInformation i = a.signed.getSignerInfos().getSigners().iterator().next();
        X509CertificateHolder by = (X509CertificateHolder) a.signed.getCertificates().getMatches(i.getSID()).iterator().next();
        if (!i.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(by)) || !a.signed.getSignedContentTypeOID().equals(CMCObjectIdentifiers.id_cct_PKIResponse.getId())) {
            throw new GeneralSecurityException("the response is not what was signed");
        }
        X509Certificate leaf = X509.getCertificate(by);
        if (!leaf.getExtendedKeyUsage().contains("1.3.6.1.5.5.7.3.27")) {
            throw new GeneralSecurityException("the signer is no CMC server");
        }
        X509CertSelector target = new X509CertSelector();
        target.setCertificate(leaf);
        PKIXBuilderParameters p = new PKIXBuilderParameters(Set.of(new TrustAnchor(root, null)), target);
        p.setRevocationEnabled(false);
        List<Certificate> all = new ArrayList<>();
        for (X509CertificateHolder h : a.signed.getCertificates().getMatches(null)) {
            all.add(X509.getCertificate(h));
        }
        p.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(all)));
        CertPathBuilder.getInstance("PKIX", "BC").build(p);
        a.response = PKIResponse.getInstance((byte[]) a.signed.getSignedContent().getContent());
        for (ASN1Encodable e : a.response.getControlSequence()) {
            a.controls.add(TaggedAttribute.getInstance(e));
        }
        return a;
    }
}
