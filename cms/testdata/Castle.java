import java.io.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.*;
import java.util.*;
import org.bouncycastle.asn1.*;
import org.bouncycastle.asn1.cms.*;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.nist.*;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.jcajce.*;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.*;
import org.bouncycastle.operator.jcajce.*;

/**
 * Castle does with Bouncy Castle what each line of standard input asks for, in the directory
 * that is its argument, and answers with a line: ok, or what went wrong.
 */
public class Castle {
    static Path dir;
    static final byte[] KEK = new byte[32];
    static final String TYPE = "1.3.6.1.5.5.7.12.2";

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        Arrays.fill(KEK, (byte) 7);
        dir = Paths.get(args[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String answer = "ok";
            try {
                work(line.split(" "));
            } catch (Throwable e) {
                answer = e.toString().replace('\n', ' ');
            }
            System.out.println(answer);
        }
    }

    static byte[] get(String name) throws Exception { return Files.readAllBytes(dir.resolve(name)); }

    static void put(String name, byte[] b) throws Exception { Files.write(dir.resolve(name), b); }

    static X509Certificate cert(String who) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(get(who + ".crt")));
    }

    static PrivateKey key(String who) throws Exception {
        String kind = who.startsWith("rsa") ? "RSA" : who.startsWith("p") ? "EC" : "Ed25519";
        return KeyFactory.getInstance(kind, "BC").generatePrivate(new PKCS8EncodedKeySpec(get(who + ".p8")));
    }

    static void same(byte[] got) throws Exception {
        if (!Arrays.equals(got, get("content"))) throw new Exception("another content");
    }

    static DigestCalculatorProvider digests() throws Exception {
        return new JcaDigestCalculatorProviderBuilder().setProvider("BC").build();
    }

    static CMSTypedData typed() throws Exception { return new CMSProcessableByteArray(new ASN1ObjectIdentifier(TYPE), get("content")); }

    static void work(String[] w) throws Exception {
        switch (w[0]) {
            case "verify": verify(w[1], w[2]); break;
            case "sign": sign(w[1], w[2], w[3]); break;
            case "decrypt": decrypt(w[1], w[2]); break;
            case "encrypt": encrypt(w[1], w[2], w[3]); break;
            case "check": check(w[1], w[2]); break;
            case "authenticate": authenticate(w[1], w[2], w[3]); break;
            default: throw new Exception("what is " + w[0] + "?");
        }
    }

    static void verify(String file, String who) throws Exception {
        CMSSignedData s = new CMSSignedData(get(file));
        if (!s.getSignedContentTypeOID().equals(TYPE)) throw new Exception("another type");
        same((byte[]) s.getSignedContent().getContent());
        SignerInformation one = s.getSignerInfos().getSigners().iterator().next();
        if (!one.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(cert(who)))) throw new Exception("not verified");
    }

    static void sign(String file, String who, String algorithm) throws Exception {
        CMSSignedDataGenerator g = new CMSSignedDataGenerator();
        ContentSigner signer = new JcaContentSignerBuilder(algorithm).setProvider("BC").build(key(who));
        g.addSignerInfoGenerator(new JcaSignerInfoGeneratorBuilder(digests()).build(signer, cert(who)));
        g.addCertificate(new JcaX509CertificateHolder(cert(who)));
        put(file, g.generate(typed(), true).getEncoded());
    }

    static RecipientInfoGenerator to(String who) throws Exception {
        switch (who) {
            case "kek":
                return new JceKEKRecipientInfoGenerator(new KEKIdentifier(new byte[]{2}, null, null), new javax.crypto.spec.SecretKeySpec(KEK, "AES")).setProvider("BC");
            case "password":
                return new JcePasswordRecipientInfoGenerator(CMSAlgorithm.AES256_CBC, "x".toCharArray()).setProvider("BC").setPRF(PasswordRecipient.PRF.HMacSHA256);
            case "rsa":
                return new JceKeyTransRecipientInfoGenerator(cert(who)).setProvider("BC");
            case "rsa-oaep":
                JcaAlgorithmParametersConverter c = new JcaAlgorithmParametersConverter();
                return new JceKeyTransRecipientInfoGenerator(cert("rsa"), c.getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP,
                    new javax.crypto.spec.OAEPParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA1, javax.crypto.spec.PSource.PSpecified.DEFAULT))).setProvider("BC");
        }
        KeyPairGenerator g = KeyPairGenerator.getInstance("EC", "BC");
        g.initialize(((java.security.interfaces.ECPublicKey) cert(who).getPublicKey()).getParams());
        KeyPair mine = g.generateKeyPair();
        return new JceKeyAgreeRecipientInfoGenerator(CMSAlgorithm.ECDH_SHA384KDF, mine.getPrivate(), mine.getPublic(), CMSAlgorithm.AES256_WRAP)
            .addRecipient(cert(who)).setProvider("BC");
    }

    static void encrypt(String file, String who, String cipher) throws Exception {
        if (cipher.equals("gcm")) {
            CMSAuthEnvelopedDataGenerator g = new CMSAuthEnvelopedDataGenerator();
            g.setAuthenticatedAttributeGenerator(new SimpleAttributeTableGenerator(new AttributeTable(
                new org.bouncycastle.asn1.cms.Attribute(CMSAttributes.contentType, new DERSet(new ASN1ObjectIdentifier(TYPE))))));
            g.addRecipientInfoGenerator(to(who));
            put(file, g.generate(typed(), (OutputAEADEncryptor) new JceCMSContentEncryptorBuilder(CMSAlgorithm.AES256_GCM).setProvider("BC").build()).getEncoded());
            return;
        }
        CMSEnvelopedDataGenerator g = new CMSEnvelopedDataGenerator();
        g.addRecipientInfoGenerator(to(who));
        put(file, g.generate(typed(), new JceCMSContentEncryptorBuilder(CMSAlgorithm.AES256_CBC).setProvider("BC").build()).getEncoded());
    }

    static void decrypt(String file, String who) throws Exception {
        ContentInfo info = ContentInfo.getInstance(get(file));
        boolean gcm = info.getContentType().equals(CMSObjectIdentifiers.authEnvelopedData);
        RecipientInformationStore all = gcm ? new CMSAuthEnvelopedData(info).getRecipientInfos() : new CMSEnvelopedData(info).getRecipientInfos();
        RecipientInformation one = all.getRecipients().iterator().next();
        Recipient by;
        if (who.equals("kek")) by = new JceKEKEnvelopedRecipient(new javax.crypto.spec.SecretKeySpec(KEK, "AES")).setProvider("BC");
        else if (who.equals("password")) by = new JcePasswordEnvelopedRecipient("x".toCharArray()).setProvider("BC");
        else if (who.startsWith("p")) by = new JceKeyAgreeEnvelopedRecipient(key(who)).setProvider("BC");
        else if (gcm) by = new JceKeyTransAuthEnvelopedRecipient(key(who)).setProvider("BC");
        else by = new JceKeyTransEnvelopedRecipient(key(who)).setProvider("BC");
        same(one.getContent(by));
    }

    static void authenticate(String file, String who, String mac) throws Exception {
        ASN1ObjectIdentifier hmac = new ASN1ObjectIdentifier(mac);
        CMSAuthenticatedDataGenerator g = new CMSAuthenticatedDataGenerator();
        g.setAuthenticatedAttributeGenerator(new DefaultAuthenticatedAttributeTableGenerator());
        g.addRecipientInfoGenerator(to(who));
        put(file, g.generate(typed(), new JceCMSMacCalculatorBuilder(hmac).setProvider("BC").build(),
            digests().get(new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256))).getEncoded());
    }

    static void check(String file, String who) throws Exception {
        CMSAuthenticatedData a = new CMSAuthenticatedData(get(file), digests());
        RecipientInformation one = a.getRecipientInfos().getRecipients().iterator().next();
        Recipient by;
        if (who.equals("kek")) by = new JceKEKAuthenticatedRecipient(new javax.crypto.spec.SecretKeySpec(KEK, "AES")).setProvider("BC");
        else if (who.equals("password")) by = new JcePasswordAuthenticatedRecipient("x".toCharArray()).setProvider("BC");
        else if (who.startsWith("p")) by = new JceKeyAgreeAuthenticatedRecipient(key(who)).setProvider("BC");
        else by = new JceKeyTransAuthenticatedRecipient(key(who)).setProvider("BC");
        same(one.getContent(by));
        if (!Arrays.equals(one.getMac(), a.getMac())) throw new Exception("another code");
        byte[] digest = ASN1OctetString.getInstance(a.getAuthAttrs().get(CMSAttributes.messageDigest).getAttrValues().getObjectAt(0)).getOctets();
        if (!Arrays.equals(digest, a.getContentDigest())) throw new Exception("another digest");
    }
}
