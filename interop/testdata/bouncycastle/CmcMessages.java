// The arithmetic of CMC by Bouncy Castle and the JDK: proofs, challenges, and messages in
// their wrappers. Each line of the input is a verb and its arguments, octets in hex, and
// is answered by one line.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.*;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.List;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.bouncycastle.asn1.*;
import org.bouncycastle.asn1.cmc.*;
import org.bouncycastle.asn1.cmc.CertificationRequest;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.crmf.*;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.*;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.crmf.CertificateRequestMessage;
import org.bouncycastle.cert.crmf.PKMACBuilder;
import org.bouncycastle.cert.crmf.jcajce.*;
import org.bouncycastle.cert.jcajce.*;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.*;
import org.bouncycastle.util.encoders.Hex;

public class CmcMessages {
    static final AlgorithmIdentifier SHA256 = new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256);
    static final AlgorithmIdentifier HMAC = new AlgorithmIdentifier(PKCSObjectIdentifiers.id_hmacWithSHA256, DERNull.INSTANCE);
    static KeyPair pair;
    static X509Certificate certificate;

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        KeyPairGenerator g = KeyPairGenerator.getInstance("EC", "BC");
        g.initialize(256);
        pair = g.generateKeyPair();
        X500Name name = new X500Name("CN=Bouncy Castle");
        certificate = new JcaX509CertificateConverter().getCertificate(new JcaX509v3CertificateBuilder(name, BigInteger.valueOf(4711), new Date(0), new Date(4000000000000L), name, pair.getPublic())
            .build(new JcaContentSignerBuilder("SHA256withECDSA").setProvider("BC").build(pair.getPrivate())));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] w = line.split(" ");
            String answer;
            try {
                answer = answer(w);
            } catch (Exception e) {
                answer = "refused: " + e;
            }
            System.out.println(answer.replace('\n', ' '));
        }
    }

    static byte[] un(String hex) { return Hex.decode(hex); }

    static String hex(byte[] b) { return Hex.toHexString(b); }

    static String hex(ASN1Encodable e) throws Exception { return hex(e.toASN1Primitive().getEncoded(ASN1Encoding.DER)); }

    static String answer(String[] w) throws Exception {
        switch (w[0]) {
            case "pop":
                return pop(un(w[1]), w.length > 2 ? w[2].toCharArray() : null);
            case "crmf":
                return crmf(w[1], w[2].toCharArray());
            case "proofs":
                return proofs(PKIData.getInstance(un(w[1])), w[2]);
            case "prove":
                return prove(un(w[1]), w[2], w[3]);
            case "link":
                return hex(new PopLinkWitnessV2(SHA256, HMAC, hmac(sha256(w[1].getBytes(StandardCharsets.UTF_8)), un(w[2]))));
            case "nosignature":
                return noSignature(ASN1Sequence.getInstance(un(w[1])));
            case "anchors": {
                PublishTrustAnchors p = PublishTrustAnchors.getInstance(un(w[1]));
                return Boolean.toString(p.getHashAlgorithm().getAlgorithm().equals(SHA256.getAlgorithm()) && Arrays.equals(p.getAnchorHashes()[0], sha256(un(w[2]))));
            }
            case "publish":
                return hex(new PublishTrustAnchors(BigInteger.valueOf(12), SHA256, new byte[][] {sha256(un(w[1]))}));
            case "answer":
                return answerTo(EncryptedPOP.getInstance(un(w[1])), key(w[2], w[3]));
            case "challenge":
                return challenge(TaggedRequest.getInstance(ASN1Primitive.fromByteArray(un(w[1]))), un(w[2]));
            case "unwrap":
                return unwrap(un(w[1]), w[2].toCharArray(), key("RSA", w[3]));
            case "wrap":
                return wrap(w[1], new ASN1ObjectIdentifier(w[2]), un(w[3]), w);
            default:
                throw new IllegalArgumentException(w[0]);
        }
    }

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

    static PrivateKey key(String kind, String pkcs8) throws Exception {
        return KeyFactory.getInstance(kind, "BC").generatePrivate(new PKCS8EncodedKeySpec(un(pkcs8)));
    }

    static PKMACBuilder password() { return new PKMACBuilder(new JcePKMACValuesCalculator().setProvider("BC")); }

    // RFC 4211 §4.1: the signature of a CRMF request, over itself or a POPOSigningKeyInput.
    static String pop(byte[] der, char[] password) throws Exception {
        JcaCertificateRequestMessage m = new JcaCertificateRequestMessage(der).setProvider("BC");
        var verifier = new JcaContentVerifierProviderBuilder().setProvider("BC").build(m.getPublicKey());
        POPOSigningKeyInput input = POPOSigningKey.getInstance(m.toASN1Structure().getPopo().getObject()).getPoposkInput();
        if (input != null && m.hasSigningKeyProofOfPossessionWithPKMAC()) { // it falls without an input
            return Boolean.toString(m.isValidSigningKeyPOP(verifier, password(), password));
        }
        return Boolean.toString(m.isValidSigningKeyPOP(verifier));
    }

    static String crmf(String how, char[] password) throws Exception {
        KeyPairGenerator g = KeyPairGenerator.getInstance(how.startsWith("RSA") ? "RSA" : "EC", "BC");
        g.initialize(how.startsWith("RSA") ? 2048 : 256);
        KeyPair p = g.generateKeyPair();
        JcaCertificateRequestMessageBuilder b = new JcaCertificateRequestMessageBuilder(BigInteger.valueOf(99));
        b.setPublicKey(p.getPublic());
        if (how.endsWith("sender")) {
            b.setAuthInfoSender(new GeneralName(GeneralName.rfc822Name, "a@b.example"));
        } else if (how.endsWith("password")) {
            b.setAuthInfoPKMAC(password(), password);
        } else {
            b.setSubject(new X500Name("CN=device"));
        }
        String algorithm = how.startsWith("RSA-PSS") ? "SHA256withRSAandMGF1" : how.startsWith("RSA") ? "SHA512withRSA" : "SHA256withECDSA";
        b.setProofOfPossessionSigningKeySigner(new JcaContentSignerBuilder(algorithm).setProvider("BC").build(p.getPrivate()));
        CertificateRequestMessage m = b.build();
        return hex(m.getEncoded());
    }

    static byte[] requests(PKIData p) throws Exception { return new DERSequence(p.getReqSequence()).getEncoded(ASN1Encoding.DER); }

    // RFC 5272 §6.2.1, §6.2.3, §6.3.1.1: the proof of identity, and each request's link to it.
    static String proofs(PKIData p, String secret) throws Exception {
        byte[] shared = secret.getBytes(StandardCharsets.UTF_8), name = {}, random = null;
        IdentityProofV2 proof = null;
        for (TaggedAttribute a : p.getControlSequence()) {
            ASN1Encodable v = a.getAttrValues().getObjectAt(0);
            if (a.getAttrType().equals(CMCObjectIdentifiers.id_cmc_identification)) {
                name = ASN1UTF8String.getInstance(v).getString().getBytes(StandardCharsets.UTF_8);
            } else if (a.getAttrType().equals(CMCObjectIdentifiers.id_cmc_identityProofV2)) {
                proof = IdentityProofV2.getInstance(v);
            } else if (a.getAttrType().equals(CMCObjectIdentifiers.id_cmc_popLinkRandom)) {
                random = ASN1OctetString.getInstance(v).getOctets();
            }
        }
        boolean holds = Arrays.equals(proof.getWitness(), hmac(sha256(shared, name), requests(p)));
        List<String> linked = new ArrayList<>();
        for (TaggedRequest r : p.getReqSequence()) {
            PopLinkWitnessV2 w = PopLinkWitnessV2.getInstance(witness(r));
            linked.add(Boolean.toString(Arrays.equals(w.getWitness(), hmac(sha256(shared), random))));
        }
        return holds + " " + String.join(",", linked);
    }

    static ASN1Encodable witness(TaggedRequest r) {
        if (r.getTagNo() == TaggedRequest.CRM) {
            for (AttributeTypeAndValue a : CertReqMsg.getInstance(r.getValue()).getCertReq().getControls().toAttributeTypeAndValueArray()) {
                if (a.getType().equals(CMCObjectIdentifiers.id_cmc_popLinkWitnessV2)) {
                    return a.getValue();
                }
            }
            return null;
        }
        CertificationRequest q = CertificationRequest.getInstance(ASN1Sequence.getInstance(r.getValue().toASN1Primitive()).getObjectAt(1));
        for (ASN1Encodable e : q.getAttributes()) {
            ASN1Sequence a = ASN1Sequence.getInstance(e);
            if (a.getObjectAt(0).equals(CMCObjectIdentifiers.id_cmc_popLinkWitnessV2)) {
                return ASN1Set.getInstance(a.getObjectAt(1)).getObjectAt(0);
            }
        }
        return null;
    }

    // A message with the same requests and a proof of identity.
    static String prove(byte[] der, String secret, String name) throws Exception {
        PKIData p = PKIData.getInstance(der);
        byte[] key = sha256(secret.getBytes(StandardCharsets.UTF_8), name.getBytes(StandardCharsets.UTF_8));
        TaggedAttribute[] controls = {
            new TaggedAttribute(new BodyPartID(1000), CMCObjectIdentifiers.id_cmc_identification, new DERSet(new DERUTF8String(name))),
            new TaggedAttribute(new BodyPartID(1001), CMCObjectIdentifiers.id_cmc_identityProofV2, new DERSet(new IdentityProofV2(SHA256, HMAC, hmac(key, requests(p)))))};
        return hex(new PKIData(controls, p.getReqSequence(), p.getCmsSequence(), p.getOtherMsgSequence()));
    }

    // RFC 5272 App. C.1: NoSignatureValue is an OCTET STRING with the hash.
    static String noSignature(ASN1Sequence pkcs10) throws Exception {
        AlgorithmIdentifier a = AlgorithmIdentifier.getInstance(pkcs10.getObjectAt(1));
        byte[] value = ASN1OctetString.getInstance(ASN1BitString.getInstance(pkcs10.getObjectAt(2)).getOctets()).getOctets();
        return a.getAlgorithm() + " " + (a.getParameters() instanceof ASN1Null) + " "
            + Arrays.equals(value, sha256(pkcs10.getObjectAt(0).toASN1Primitive().getEncoded(ASN1Encoding.DER)));
    }

    // RFC 5272 §6.7, step 3 and 4.
    static String answerTo(EncryptedPOP p, PrivateKey key) throws Exception {
        RecipientInformation to = new CMSEnvelopedData(p.getCms()).getRecipientInfos().getRecipients().iterator().next();
        byte[] proof = to.getContent(key.getAlgorithm().equals("RSA") ? new JceKeyTransEnvelopedRecipient(key).setProvider("BC") : new JceKeyAgreeEnvelopedRecipient(key).setProvider("BC"));
        if (!p.getWitnessAlgID().getAlgorithm().equals(SHA256.getAlgorithm()) || !Arrays.equals(sha256(proof), p.getWitness())) {
            return "another witness";
        }
        TaggedRequest r = p.getRequest();
        ASN1Integer id = r.getTagNo() == TaggedRequest.CRM ? CertReqMsg.getInstance(r.getValue()).getCertReq().getCertReqId()
            : ASN1Integer.getInstance(ASN1Sequence.getInstance(r.getValue().toASN1Primitive()).getObjectAt(0));
        byte[] secret = proof.length > 64 ? Arrays.copyOf(proof, 64) : proof;
        return hex(new DecryptedPOP(new BodyPartID(id.getValue().longValue()), p.getThePOPAlgID(), hmac(secret, r.toASN1Primitive().getEncoded(ASN1Encoding.DER))));
    }

    // Step 2: a challenge for the key with this identifier, of 80 octets.
    static String challenge(TaggedRequest r, byte[] keyID) throws Exception {
        byte[] proof = new byte[80];
        new SecureRandom().nextBytes(proof);
        PublicKey key = new JcaCertificateRequestMessage(CertReqMsg.getInstance(r.getValue())).setProvider("BC").getPublicKey();
        CMSEnvelopedDataGenerator g = new CMSEnvelopedDataGenerator();
        g.addRecipientInfoGenerator(new JceKeyTransRecipientInfoGenerator(keyID, key).setProvider("BC"));
        CMSEnvelopedData e = g.generate(new CMSProcessableByteArray(proof), new JceCMSContentEncryptorBuilder(CMSAlgorithm.AES256_CBC).setProvider("BC").build());
        return hex(new EncryptedPOP(r, ContentInfo.getInstance(e.toASN1Structure()), HMAC, SHA256, sha256(proof))) + " " + hex(proof);
    }

    // Takes a message out of its wrappers and says what they were.
    static String unwrap(byte[] in, char[] password, PrivateKey key) throws Exception {
        List<String> layers = new ArrayList<>();
        ContentInfo outer = ContentInfo.getInstance(in);
        for (;;) {
            ASN1ObjectIdentifier type;
            byte[] content;
            if (outer.getContentType().equals(CMSObjectIdentifiers.signedData)) {
                CMSSignedData s = new CMSSignedData(outer);
                layers.add("signed" + verified(s));
                type = s.getSignedContent().getContentType();
                content = (byte[]) s.getSignedContent().getContent();
            } else if (outer.getContentType().equals(CMSObjectIdentifiers.envelopedData)) {
                layers.add("enveloped");
                CMSEnvelopedData e = new CMSEnvelopedData(outer);
                RecipientInformation to = e.getRecipientInfos().getRecipients().iterator().next();
                content = to.getContent(new JceKeyTransEnvelopedRecipient(key).setProvider("BC"));
                type = org.bouncycastle.asn1.cms.EnvelopedData.getInstance(outer.getContent()).getEncryptedContentInfo().getContentType();
            } else {
                CMSAuthenticatedData a = new CMSAuthenticatedData(outer, new JcaDigestCalculatorProviderBuilder().setProvider("BC").build());
                RecipientInformation to = a.getRecipientInfos().getRecipients().iterator().next();
                content = to.getContent(new JcePasswordAuthenticatedRecipient(password).setProvider("BC"));
                layers.add("authenticated " + (Arrays.equals(a.getMac(), to.getMac()) && Arrays.equals(a.getContentDigest(), to.getContentDigest())));
                type = org.bouncycastle.asn1.cms.AuthenticatedData.getInstance(outer.getContent()).getEncapsulatedContentInfo().getContentType();
            }
            if (type.equals(CMCObjectIdentifiers.id_cct_PKIData) || type.equals(CMCObjectIdentifiers.id_cct_PKIResponse)) {
                return String.join(",", layers) + "|" + type + "|" + hex(content);
            }
            outer = new ContentInfo(type, ASN1Primitive.fromByteArray(content));
        }
    }

    static String verified(CMSSignedData s) throws Exception {
        StringBuilder out = new StringBuilder();
        for (SignerInformation i : s.getSignerInfos().getSigners()) {
            X509CertificateHolder c = (X509CertificateHolder) s.getCertificates().getMatches(i.getSID()).iterator().next();
            out.append(" ").append(i.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(c)));
        }
        return out.toString();
    }

    static CMSSignedData signed(ASN1ObjectIdentifier type, byte[] content, boolean enclose) throws Exception {
        CMSSignedDataGenerator g = new CMSSignedDataGenerator();
        g.addSignerInfoGenerator(new JcaSimpleSignerInfoGeneratorBuilder().setProvider("BC").build("SHA256withECDSA", pair.getPrivate(), certificate));
        if (enclose) {
            g.addCertificates(new JcaCertStore(Collections.singletonList(certificate)));
        }
        return g.generate(new CMSProcessableByteArray(type, content), true);
    }

    static byte[] inner(CMSSignedData s) throws Exception { return s.toASN1Structure().getContent().toASN1Primitive().getEncoded(); }

    // Wraps a message: unsigned, signed, streamed (BER), encrypted CERTIFICATE, outer CERTIFICATE, authenticated PASSWORD.
    static String wrap(String how, ASN1ObjectIdentifier type, byte[] content, String[] w) throws Exception {
        CMSProcessableByteArray typed = new CMSProcessableByteArray(type, content);
        switch (how) {
            case "unsigned":
                return hex(new CMSSignedDataGenerator().generate(typed, true).getEncoded());
            case "signed":
                return hex(signed(type, content, true).getEncoded());
            case "streamed": {
                java.io.ByteArrayOutputStream out = new java.io.ByteArrayOutputStream();
                CMSSignedDataStreamGenerator g = new CMSSignedDataStreamGenerator();
                g.addSignerInfoGenerator(new JcaSimpleSignerInfoGeneratorBuilder().setProvider("BC").build("SHA256withECDSA", pair.getPrivate(), certificate));
                g.addCertificates(new JcaCertStore(Collections.singletonList(certificate)));
                g.setBufferSize(16);
                try (java.io.OutputStream to = g.open(type, out, true)) {
                    to.write(content);
                }
                return hex(out.toByteArray());
            }
            case "encrypted":
            case "outer": {
                CMSEnvelopedDataGenerator g = new CMSEnvelopedDataGenerator();
                X509CertificateHolder to = new X509CertificateHolder(un(w[4]));
                g.addRecipientInfoGenerator(new JceKeyTransRecipientInfoGenerator(new JcaX509CertificateConverter().getCertificate(to)).setProvider("BC"));
                CMSEnvelopedData e = g.generate(new CMSProcessableByteArray(CMSObjectIdentifiers.signedData, inner(signed(type, content, true))),
                    new JceCMSContentEncryptorBuilder(CMSAlgorithm.AES128_CBC).setProvider("BC").build());
                if (how.equals("encrypted")) {
                    return hex(e.getEncoded());
                }
                return hex(signed(CMSObjectIdentifiers.envelopedData, e.toASN1Structure().getContent().toASN1Primitive().getEncoded(), false).getEncoded());
            }
            case "authenticated": {
                CMSAuthenticatedDataGenerator g = new CMSAuthenticatedDataGenerator();
                g.addRecipientInfoGenerator(new JcePasswordRecipientInfoGenerator(CMSAlgorithm.AES256_CBC, w[4].toCharArray()).setProvider("BC")
                    .setPRF(PasswordRecipient.PRF.HMacSHA256).setSaltAndIterationCount(new byte[16], 2048));
                var mac = new JceCMSMacCalculatorBuilder(PKCSObjectIdentifiers.id_hmacWithSHA256).setProvider("BC").build();
                var digest = new JcaDigestCalculatorProviderBuilder().setProvider("BC").build().get(SHA256);
                return hex(g.generate(typed, mac, digest).getEncoded());
            }
            default:
                throw new IllegalArgumentException(how);
        }
    }
}
