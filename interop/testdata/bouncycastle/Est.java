import java.io.BufferedReader;
import java.io.FileReader;
import java.io.FileWriter;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.Socket;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;

import javax.net.ssl.KeyManagerFactory;

import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.est.CACertsResponse;
import org.bouncycastle.est.CSRRequestResponse;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.ChannelBindingProvider;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.jsse.BCSSLSocket;
import org.bouncycastle.jsse.provider.BouncyCastleJsseProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequestBuilder;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;
import org.bouncycastle.util.io.pem.PemObject;

/**
 * An EST client made of Bouncy Castle's ESTService. Each line of the standard input is an
 * operation with its parameters, word=value; each is answered by one line: "ok" or "202"
 * or "error" with its status, and what came. Keys and certificates are kept by their name
 * for later operations, and written to NAME.pem and NAME.key.
 */
public class Est {
    static final Map<String, KeyPair> keys = new HashMap<>();
    static final Map<String, X509Certificate> certificates = new HashMap<>();
    static final Map<String, EnrollmentResponse> waiting = new HashMap<>();

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        Security.addProvider(new BouncyCastleJsseProvider());
        PrintStream out = System.out;
        System.setOut(System.err); // the library prints now and then
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split(" ");
            Map<String, String> with = new HashMap<>();
            for (int i = 1; i < words.length; i++) {
                int at = words[i].indexOf('=');
                with.put(words[i].substring(0, at), words[i].substring(at + 1));
            }
            String answer;
            try {
                answer = new Est(with).run(words[0]);
            } catch (Throwable e) {
                answer = "error " + told(e);
            }
            out.println(answer.replace('\n', ' ').replace('\r', ' '));
            out.flush();
        }
    }

    static String told(Throwable e) throws Exception {
        StringBuilder b = new StringBuilder();
        for (Throwable t = e; t != null; t = t.getCause()) {
            b.append(t).append("; ");
            if (t instanceof ESTException && ((ESTException) t).getBody() != null) {
                b.append("status ").append(((ESTException) t).getStatusCode()).append(", ");
            }
        }
        StringWriter trace = new StringWriter();
        e.printStackTrace(new PrintWriter(trace));
        System.err.println(trace);
        return b.toString();
    }

    final Map<String, String> with;
    final long begun = System.currentTimeMillis();
    final ESTService service;

    Est(Map<String, String> with) throws Exception {
        this.with = with;
        X509CertificateHolder root;
        try (PEMParser p = new PEMParser(new FileReader(with.get("root")))) {
            root = (X509CertificateHolder) p.readObject();
        }
        TrustAnchor anchor = new TrustAnchor(new JcaX509CertificateConverter().getCertificate(root), null);
        JsseESTServiceBuilder b = new JsseESTServiceBuilder(with.get("server"),
            JcaJceUtils.getCertPathTrustManager(Collections.singleton(anchor), null));
        b.withProvider("BCJSSE").withTLSVersion(with.get("tls")).withTimeout(20000);
        if (with.get("label") != null) {
            b.withLabel(with.get("label"));
        }
        if (with.get("present") != null) {
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            store.setKeyEntry("own", keys.get(with.get("present")).getPrivate(), new char[0],
                new X509Certificate[] {certificates.get(with.get("present"))});
            KeyManagerFactory f = JcaJceUtils.createKeyManagerFactory("PKIX", "BCJSSE", store, new char[0]);
            b.withKeyManagers(f.getKeyManagers());
        }
        b.withChannelBindingProvider(new ChannelBindingProvider() {
            public boolean canAccessChannelBinding(Socket s) {
                return s instanceof BCSSLSocket;
            }

            public byte[] getChannelBinding(Socket s, String name) {
                return ((BCSSLSocket) s).getConnection().getChannelBinding(name);
            }
        });
        service = b.build();
    }

    /** The user and the password, for whatever way the server challenges for. */
    ESTAuth auth() throws Exception {
        if (with.get("user") == null) {
            return null;
        }
        return new JcaHttpAuthBuilder(with.get("user"), with.get("password").toCharArray())
            .setProvider("BC").setNonceGenerator(new SecureRandom()).build();
    }

    String run(String operation) throws Exception {
        switch (operation) {
        case "cacerts":
            return cacerts();
        case "csrattrs":
            return csrattrs();
        case "again":
            return came(service.simpleEnroll(waiting.remove(with.get("name"))));
        default:
            return came(enroll(operation));
        }
    }

    String cacerts() throws Exception {
        CACertsResponse r = service.getCACerts();
        StringBuilder b = new StringBuilder("ok trusted=" + r.isTrusted());
        for (X509CertificateHolder c : ESTService.storeToArray(r.getCertificateStore())) {
            b.append(" [").append(c.getSubject()).append("]");
        }
        return b.toString();
    }

    String csrattrs() throws Exception {
        CSRRequestResponse r = service.getCSRAttributes();
        if (!r.hasAttributesResponse()) {
            return "ok none";
        }
        return "ok " + r.getAttributesResponse().getRequirements();
    }

    PKCS10CertificationRequestBuilder request(KeyPair pair) throws Exception {
        PKCS10CertificationRequestBuilder b = new JcaPKCS10CertificationRequestBuilder(
            new X500Name("CN=" + with.get("cn")), pair.getPublic());
        if (with.get("dns") != null) {
            GeneralNames names = new GeneralNames(new GeneralName(GeneralName.dNSName, with.get("dns")));
            b.addAttribute(PKCSObjectIdentifiers.pkcs_9_at_extensionRequest,
                new Extensions(new Extension(Extension.subjectAlternativeName, false, names.getEncoded())));
        }
        return b;
    }

    EnrollmentResponse enroll(String operation) throws Exception {
        KeyPairGenerator g = KeyPairGenerator.getInstance("EC", "BC");
        g.initialize(new ECGenParameterSpec("P-256"));
        String name = with.get("name");
        KeyPair pair = "same".equals(with.get("key")) ? keys.get(name) : g.generateKeyPair();
        keys.put(name, pair);
        ContentSigner signer = new JcaContentSignerBuilder("SHA256withECDSA").setProvider("BC").build(pair.getPrivate());
        PKCS10CertificationRequestBuilder b = request(pair);
        switch (operation) {
        case "enroll":
            return service.simpleEnroll(false, b.build(signer), auth());
        case "reenroll":
            return service.simpleEnroll(true, b.build(signer), auth());
        case "enroll-pop":
            return service.simpleEnrollPoP(false, b, signer, auth());
        case "reenroll-pop":
            return service.simpleEnrollPoP(true, b, signer, auth());
        case "serverkeygen":
            return service.simpleEnrollWithServersideCreation(b.build(signer), auth());
        }
        throw new IllegalArgumentException(operation);
    }

    String came(EnrollmentResponse r) throws Exception {
        String name = with.get("name");
        if (!r.isCompleted()) {
            waiting.put(name, r);
            return "202 later=" + (r.getNotBefore() >= begun + 1000); // Retry-After of 1 s at least
        }
        X509CertificateHolder[] all = ESTService.storeToArray(r.getStore());
        if (all.length != 1) {
            return "error " + all.length + " certificates came";
        }
        certificates.put(name, new JcaX509CertificateConverter().getCertificate(all[0]));
        write(name + ".pem", all[0]);
        byte[] key = r.getPrivateKeyInfo() != null ? r.getPrivateKeyInfo().getEncoded() : keys.get(name).getPrivate().getEncoded();
        write(name + ".key", new PemObject("PRIVATE KEY", key));
        return "ok made=" + (r.getPrivateKeyInfo() != null) + " [" + all[0].getSubject() + "]";
    }

    static void write(String path, Object o) throws Exception {
        try (JcaPEMWriter w = new JcaPEMWriter(new FileWriter(path))) {
            w.writeObject(o);
        }
    }
}
